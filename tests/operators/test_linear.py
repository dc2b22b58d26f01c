"""Fully connected layers, low-rank pairs, and gains that join a layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.operators.conv import ConvView
from brittle.operators.gains import prescaled, scaled
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.pointwise import AvgPoolView, DiagonalView
from brittle.operators.view import LinearView, dense
from tests.cases import CONVOLUTIONS, normal, random_dense
from tests.operators.reference import dense_of


@pytest.mark.parametrize("seed", range(200))
def test_both_norms_of_random_layers(seed: int) -> None:
    view = random_dense(seed)
    w = view.weight
    scale = float(w.abs().max()) or 1.0
    l2 = float(torch.linalg.svdvals(w / scale)[0]) * scale
    linf = float((w / scale).abs().sum(1).max()) * scale
    for bound, truth in [(view.spectral_norm(), l2), (view.linf_norm(), linf)]:
        assert bound.status == "exact"
        assert bound.lower <= truth * (1 + 1e-13)
        assert truth * (1 - 1e-13) <= bound.value <= truth * (1 + 1e-9)


def test_views_take_float32_weights_exactly() -> None:
    weight = normal(3, 4, seed=0).float()
    assert DenseView(weight).weight.dtype == torch.float64
    assert torch.equal(DenseView(weight).weight.float(), weight)


def test_a_view_does_not_hold_on_to_gradients() -> None:
    layer = nn.Linear(3, 2)
    assert not DenseView(layer.weight).weight.requires_grad


@pytest.mark.parametrize(
    ("weight", "shape", "message"),
    [
        (torch.zeros(3), (), r"needs a weight \(neurons, fan-in\), got shape \(3,\)"),
        (torch.zeros(0, 3), (), "needs a weight"),
        (torch.tensor([[float("nan")]]), (), "expected finite weights"),
        (torch.zeros(2, 3), (4,), r"fan-in 3 cannot act on inputs of shape \(4,\)"),
    ],
)
def test_dense_refuses_what_it_cannot_be(weight: Tensor, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        DenseView(weight, shape)


def test_low_rank_norms_are_the_products_not_products_of_norms() -> None:
    pair = FactorisedView(DenseView(torch.tensor([[1.0, -1.0]])), DenseView(torch.tensor([[1.0], [1.0]])))
    assert pair.spectral_norm().value < 1e-14
    assert pair.linf_norm().value < 1e-14
    assert pair.spectral_norm().lower == 0.0
    assert pair.matrix().abs().max() == 0.0


def test_low_rank_convolution_has_the_structure_matrix_of_one_kernel() -> None:
    inner = CONVOLUTIONS["grouped"]
    outer = ConvView(normal(5, 6, 1, 1, seed=1), inner.out_shape, (2, 2))
    pair = FactorisedView(outer, inner)
    assert pair.kind == "low-rank"
    assert pair.rank == 6
    assert pair.matrix().shape == (5, 4 * 9)
    torch.testing.assert_close(dense(pair.product), dense_of(pair), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["plain", "grouped", "reflect", "one-dimensional"])
def test_a_convolution_after_one_that_meets_each_pixel_alone_is_one_kernel(name: str) -> None:
    outer = CONVOLUTIONS[name]
    channels = outer.in_shape[0]
    windows = [1] * (len(outer.in_shape) - 1)
    inner = ConvView(normal(channels, 7, *windows, seed=1), (7, *outer.in_shape[1:]))
    pair = FactorisedView(outer, inner)
    assert pair.rank == channels
    assert pair.product.weight.shape == (len(outer.weight), 7, *outer.weight.shape[2:])
    torch.testing.assert_close(dense(pair.product), dense_of(pair), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("outer", "inner", "message"),
    [
        (DenseView(torch.ones(2, 3)), DenseView(torch.ones(4, 3)), r"equal shapes between its layers: \(4,\), \(3,\)"),
        (
            DenseView(torch.ones(2, 4), (3, 4, 4)),
            ConvView(torch.ones(3, 1, 1, 1), (1, 4, 4)),
            "expected two linear layers or two convolutions, got conv2d and linear",
        ),
        (
            ConvView(torch.ones(2, 3, 3, 3), (3, 4, 4)),
            ConvView(torch.ones(3, 1, 2, 2), (1, 5, 5)),
            "expected a convolution with 1 x 1 windows and no padding",
        ),
        (
            ConvView(torch.ones(2, 3, 1, 1), (3, 4, 4), padding=((1, 1),)),
            ConvView(torch.ones(3, 1, 2, 2), (1, 5, 5)),
            "no padding",
        ),
        (
            ConvView(torch.ones(2, 3, 3, 3), (3, 4, 4)),
            ConvView(torch.ones(3, 1, 1, 1), (1, 7, 7), (2,)),
            "first with steps of 1",
        ),
    ],
)
def test_pairs_that_are_no_single_layer_are_refused(
    outer: DenseView | ConvView, inner: DenseView | ConvView, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        FactorisedView(outer, inner)


@pytest.mark.parametrize("name", list(CONVOLUTIONS))
def test_gains_before_and_after_a_convolution(name: str) -> None:
    view = CONVOLUTIONS[name]
    after, before = normal(view.out_shape[0], seed=1), normal(view.in_shape[0], seed=2)
    x = normal(2, *view.in_shape, seed=3)
    spread = (1, -1, *([1] * (len(view.in_shape) - 1)))
    torch.testing.assert_close(scaled(view, after).apply(x), view.apply(x) * after.view(spread))
    torch.testing.assert_close(prescaled(view, before).apply(x), view.apply(x * before.view(spread)))


PLAIN = CONVOLUTIONS["plain"]


@pytest.mark.parametrize(
    "view",
    [
        DenseView(normal(4, 3, seed=0), (2, 3)),
        FactorisedView(DenseView(normal(4, 2, seed=0)), DenseView(normal(2, 3, seed=1))),
        FactorisedView(ConvView(normal(4, 5, 1, 1, seed=0), PLAIN.out_shape), PLAIN),
        DiagonalView(normal(3, 1, 1, seed=4), (3, 2, 2)),
    ],
    ids=["linear on tokens", "low-rank", "low-rank convolution", "scale"],
)
def test_gains_before_and_after_other_layers(view: LinearView) -> None:
    axis = -1 if isinstance(view, DenseView) else 0
    after, before = normal(view.out_shape[axis], seed=1), normal(view.in_shape[axis], seed=2)
    x = normal(2, *view.in_shape, seed=3)

    def along(gain: Tensor, tensor: Tensor) -> Tensor:
        return gain if axis == -1 else gain.view(1, -1, *([1] * (tensor.dim() - 2)))

    out = view.apply(x)
    torch.testing.assert_close(scaled(view, after).apply(x), out * along(after, out))
    torch.testing.assert_close(prescaled(view, before).apply(x), view.apply(x * along(before, x)))


def test_a_folded_batch_norm_is_the_layer_and_its_norm_in_eval_mode() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 6, 3, 2, 1, bias=False).double(), nn.BatchNorm2d(6).double()
    norm(conv(torch.randn(8, 3, 7, 7, dtype=torch.float64)))  # statistics that are not 0 and 1
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.eval()
    assert norm.running_var is not None
    view = scaled(ConvView.of(conv, (3, 7, 7)), norm.weight * torch.rsqrt(norm.running_var + norm.eps))
    x, x_adv = normal(2, 3, 7, 7, seed=1), normal(2, 3, 7, 7, seed=2)
    with torch.no_grad():
        torch.testing.assert_close(view.apply(x_adv - x), norm(conv(x_adv)) - norm(conv(x)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("join", [scaled, prescaled])
def test_gains_of_the_wrong_number_or_on_a_pool_are_refused(join: object) -> None:
    assert callable(join)
    with pytest.raises(ModelError, match=r"expected one gain for each of \d (output|input) channels, got shape \(9,\)"):
        join(DenseView(torch.ones(2, 3)), torch.ones(9))
    with pytest.raises(ModelError, match="got avg-pool"):
        join(AvgPoolView((1, 2, 2), (2, 2), (2, 2)), torch.ones(1))
