"""What every view promises: T as applied, its adjoint, its magnitude, its norms; references are brute force."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import fsum

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from brittle.operators.conv import ConvView
from brittle.operators.lanczos import lanczos_lower
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.pointwise import AvgPoolView, DiagonalView, SelectView
from brittle.operators.rounding import gamma
from brittle.operators.row_sums import mixed_norm
from brittle.operators.view import LinearView, dense, size
from tests.cases import CONVOLUTIONS, normal
from tests.operators.reference import dense_of, exact_matrix, fractions

C = CONVOLUTIONS
VIEWS: dict[str, LinearView] = {
    **C,
    "linear": DenseView(normal(5, 7, seed=1)),
    "linear on tokens": DenseView(normal(5, 7, seed=2), (3, 7)),
    "linear on a grid": DenseView(normal(2, 3, seed=2), (2, 4, 3)),
    "low-rank": FactorisedView(DenseView(normal(6, 2, seed=3)), DenseView(normal(2, 7, seed=4))),
    "low-rank on tokens": FactorisedView(
        DenseView(normal(6, 2, seed=3), (3, 2)), DenseView(normal(2, 7, seed=4), (3, 7))
    ),
    "low-rank convolution": FactorisedView(ConvView(normal(7, 5, 1, 1, seed=5), C["plain"].out_shape), C["plain"]),
    "low-rank convolution, second strided and grouped": FactorisedView(
        ConvView(normal(6, 3, 1, 1, seed=5), C["grouped"].out_shape, (2, 3), groups=2), C["grouped"]
    ),
    "low-rank convolution, reflect": FactorisedView(
        ConvView(normal(7, 4, 1, 1, seed=5), C["reflect"].out_shape), C["reflect"]
    ),
    "low-rank convolution, 1 x 1 first": FactorisedView(
        C["grouped"], ConvView(normal(C["grouped"].in_shape[0], 3, 1, 1, seed=5), (3, *C["grouped"].in_shape[1:]))
    ),
    "low-rank convolution, 1d": FactorisedView(
        ConvView(normal(2, 5, 1, seed=5), C["one-dimensional"].out_shape), C["one-dimensional"]
    ),
    "low-rank that cancels": FactorisedView(
        DenseView(torch.tensor([[1.0, -1.0, 1e-9], [3.0, 1.0, 0.0]])),
        DenseView(torch.stack([(v := normal(5, seed=8)), v + 1e-9 * normal(5, seed=9), normal(5, seed=10)])),
    ),
    "scale per channel": DiagonalView(normal(3, 1, 1, seed=6), (3, 2, 2)),
    "scale per coordinate": DiagonalView(normal(3, 2, 2, seed=7), (3, 2, 2)),
    "one scale": DiagonalView(torch.full((1,), -2.0), (4,)),
    "average pooling": AvgPoolView((2, 7, 6), (3, 2), (2, 2), (1, 0), True, False),
    "slice": SelectView(lambda v: v[:, 1:, ::2], (3, 4), (2, 2)),
    "permutation": SelectView(lambda v: v.permute(0, 2, 1), (3, 4), (4, 3)),
    "zero padding": SelectView(lambda v: F.pad(v, (1, 2)), (2, 3), (2, 6)),
    "mean over positions": SelectView(lambda v: v.mean((2, 3)), (3, 4, 5), (3,)),
    "adaptive pooling": SelectView(lambda v: F.adaptive_avg_pool2d(v, (2, 3)), (2, 5, 7), (2, 2, 3)),
}


@pytest.fixture(params=list(VIEWS))
def view(request: pytest.FixtureRequest) -> LinearView:
    return VIEWS[request.param]


def _columns(view: LinearView, shape: tuple[int, ...]) -> Tensor:
    return torch.eye(size(shape), dtype=torch.float64).view(-1, *shape)


def test_is_a_linear_view_with_true_shapes(view: LinearView) -> None:
    assert isinstance(view, LinearView)
    x = normal(2, *view.in_shape, seed=0)
    assert view.apply(x).shape == (2, *view.out_shape)
    assert view.adjoint(view.apply(x)).shape == (2, *view.in_shape)
    assert view.matrix().dim() == 2
    assert view.kind


def test_apply_is_the_reference_map(view: LinearView) -> None:
    torch.testing.assert_close(dense(view), dense_of(view), rtol=1e-12, atol=1e-12)


def test_dense_does_not_depend_on_its_chunks(view: LinearView) -> None:
    torch.testing.assert_close(dense(view, chunk=5), dense(view), rtol=1e-13, atol=1e-13)


def test_adjoint_moves_across_the_inner_product(view: LinearView) -> None:
    x, y = normal(1, *view.in_shape, seed=1), normal(1, *view.out_shape, seed=2)
    left, right = float((view.apply(x) * y).sum()), float((x * view.adjoint(y)).sum())
    assert left == pytest.approx(right, rel=1e-11, abs=1e-11)


def test_adjoint_is_the_transpose(view: LinearView) -> None:
    pulled = view.adjoint(_columns(view, view.out_shape)).flatten(1)
    torch.testing.assert_close(pulled, dense_of(view), rtol=1e-12, atol=1e-12)


def test_magnitude_is_the_entrywise_absolute_value(view: LinearView) -> None:
    truth = dense_of(view).abs()
    forward = view.abs_apply(_columns(view, view.in_shape)).flatten(1).T
    backward = view.abs_adjoint(_columns(view, view.out_shape)).flatten(1)
    torch.testing.assert_close(forward, truth, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(backward, truth, rtol=1e-11, atol=1e-12)


def test_linf_norm_is_the_largest_row_sum(view: LinearView) -> None:
    truth = max(fsum(row) for row in dense_of(view).abs().tolist())
    bound = view.linf_norm()
    # The reference matrix itself is rounded where entries are sums (low-rank, merged taps).
    assert bound.lower <= truth * (1 + 1e-14)
    assert truth * (1 - 1e-14) <= bound.value
    assert bound.status == "exact"


def test_spectral_norm_is_a_sandwich(view: LinearView) -> None:
    truth = float(torch.linalg.matrix_norm(dense_of(view), 2))
    bound = view.spectral_norm()
    assert bound.lower <= truth * (1 + 1e-13)
    assert truth * (1 - 1e-13) <= bound.value
    assert truth * (1 - 1e-13) <= mixed_norm(view)
    if bound.status == "exact":
        assert bound.value == pytest.approx(truth, rel=1e-9)


def test_lanczos_approaches_the_norm_from_below(view: LinearView) -> None:
    truth = float(torch.linalg.matrix_norm(dense_of(view), 2))
    lower = lanczos_lower(view, mixed_norm(view), steps=60)
    assert lower <= truth * (1 + 1e-13)
    assert lower >= 0.97 * truth


def test_lanczos_is_the_same_for_the_same_seed(view: LinearView) -> None:
    assert lanczos_lower(view, 1.0, seed=3) == lanczos_lower(view, 1.0, seed=3)


@pytest.mark.parametrize("name", ["linear", "one-dimensional", "circular, tiny", "low-rank", "low-rank that cancels"])
def test_terms_size_the_rounding_of_a_product(name: str) -> None:
    view = VIEWS[name]
    x = normal(1, *view.in_shape, seed=5)
    exact = exact_matrix(view) @ fractions(x.flatten())
    error = abs(exact - fractions(view.apply(x).flatten()))
    room = gamma(view.terms) * view.abs_apply(x.abs()).flatten()
    assert max(error) > 0
    assert all(float(e) <= r for e, r in zip(error, room.tolist(), strict=True))


@pytest.mark.parametrize("name", ["linear", "one-dimensional", "circular, tiny", "low-rank that cancels"])
def test_linf_norm_holds_the_exact_row_sum(name: str) -> None:
    truth = abs(exact_matrix(VIEWS[name])).sum(1).max()
    bound = VIEWS[name].linf_norm()
    assert Fraction(bound.lower) <= truth <= Fraction(bound.value)


CANCEL = ConvView(
    torch.tensor([[[0.1, 0.2, -0.3]]], dtype=torch.float64), (1, 1), padding=((1, 1),), padding_mode="replicate"
)


def test_taps_that_cancel_on_one_pixel_keep_the_rounding_of_their_sum() -> None:
    truth = abs(Fraction(0.1) + Fraction(0.2) - Fraction(0.3))  # 2.8e-17, where float64 makes it 5.6e-17 or 0
    for bound in (CANCEL.linf_norm(), CANCEL.spectral_norm()):
        assert Fraction(bound.lower) <= truth <= Fraction(bound.value)
        assert bound.value < 1e-14
    assert Fraction(float(CANCEL.abs_apply(torch.ones(1, 1, 1, dtype=torch.float64)))) >= truth


@pytest.mark.parametrize("seed", range(50))
def test_magnitudes_are_never_below_the_exact_ones_where_entries_are_sums(seed: int) -> None:
    a, b = normal(1, 6, seed=seed), normal(6, 1, seed=1000 + seed)
    b[0] = -(a[0, 1:] @ b[1:]) / a[0, 0]  # the product is rounding alone
    pair = FactorisedView(DenseView(a), DenseView(b))
    merged = replace(CANCEL, weight=torch.cat([a[0, 1:3], -(a[0, 1] + a[0, 2]).view(1) * (1 + 1e-16)]).view(1, 1, 3))
    for view, truth in [
        (pair, abs(exact_matrix(pair)[0, 0])),
        (merged, abs(sum(fractions(merged.weight.flatten()), start=Fraction(0)))),
    ]:
        one = torch.ones(1, 1, 1, dtype=torch.float64) if view is merged else torch.ones(1, 1, dtype=torch.float64)
        assert Fraction(float(view.abs_apply(one))) >= truth
        assert Fraction(float(view.abs_adjoint(one))) >= truth
        for bound in (view.linf_norm(), view.spectral_norm()):
            assert Fraction(bound.lower) <= truth <= Fraction(bound.value)


@pytest.mark.parametrize("name", ["slice", "permutation", "zero padding", "mean over positions", "average pooling"])
def test_selections_and_means_have_exact_norms(name: str) -> None:
    assert VIEWS[name].spectral_norm().status == "exact"


def test_norms_of_the_simplest_selections() -> None:
    assert VIEWS["slice"].spectral_norm().value == pytest.approx(1.0, rel=1e-9)
    assert VIEWS["mean over positions"].spectral_norm().value == pytest.approx(20**-0.5, rel=1e-9)
    assert VIEWS["one scale"].spectral_norm().value == 2.0
