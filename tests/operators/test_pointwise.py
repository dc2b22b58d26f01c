"""Scales, average pooling against torch's, and selections."""

from __future__ import annotations

from itertools import product
from math import sqrt

import pytest
import torch
import torch.nn.functional as F

from brittle.errors import ModelError
from brittle.operators.pointwise import AvgPoolView, DiagonalView, SelectView
from tests.cases import normal
from tests.operators.reference import dense_of


@pytest.mark.parametrize(("ceil_mode", "count_include_pad"), list(product([False, True], repeat=2)))
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((2, 8, 8), (2, 2), (2, 2), (0, 0)),
        ((2, 7, 6), (3, 3), (2, 2), (1, 1)),
        ((1, 6, 9), (2, 3), (3, 2), (1, 0)),
        ((1, 5, 5), (2, 2), (3, 3), (1, 1)),
        ((1, 4, 4), (4, 4), (4, 4), (0, 0)),
        ((1, 3, 5), (3, 3), (1, 4), (1, 1)),
    ],
)
def test_average_pooling_is_torchs(
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    ceil_mode: bool,
    count_include_pad: bool,
) -> None:
    view = AvgPoolView(shape, kernel, stride, padding, ceil_mode, count_include_pad)
    x = normal(2, *shape, seed=0)
    truth = F.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad)
    assert view.out_shape == tuple(truth.shape[1:])
    torch.testing.assert_close(view.apply(x), truth, rtol=1e-12, atol=1e-12)
    bound = view.spectral_norm()
    assert bound.status == "exact"
    assert bound.value == pytest.approx(float(torch.linalg.matrix_norm(dense_of(view), 2)), rel=1e-9)


def test_disjoint_average_pooling_has_norm_one_over_the_kernel() -> None:
    bound = AvgPoolView((64, 112, 112), (2, 2), (2, 2)).spectral_norm()
    assert bound.lower <= 0.5 <= bound.value
    assert bound.status == "exact"


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((4, 4), (2, 2), (2, 2), (0, 0)),
        ((1, 4, 4), (2,), (2,), (0,)),
        ((1, 4, 4), (2, 2), (0, 2), (0, 0)),
        ((1, 4, 4), (2, 2), (2, 2), (2, 0)),
        ((1, 4, 4), (5, 5), (2, 2), (0, 0)),
    ],
)
def test_average_pooling_refuses_what_torch_refuses(
    shape: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match=r"average pooling needs an input \(c, h, w\) and pairs with"):
        AvgPoolView(shape, kernel, stride, padding)


def test_a_scale_has_the_norm_of_its_largest_entry() -> None:
    view = DiagonalView(torch.tensor([1.0, -3.0]).view(2, 1, 1), (2, 4, 4))
    for bound in (view.spectral_norm(), view.linf_norm()):
        assert (bound.lower, bound.value, bound.status) == (3.0, 3.0, "exact")
    assert view.matrix().tolist() == [[1.0, 0.0], [0.0, -3.0]]


def test_a_scale_must_fit_and_be_finite() -> None:
    with pytest.raises(ModelError, match=r"a scale of shape \(3,\) does not broadcast to inputs of shape \(2, 4\)"):
        DiagonalView(torch.ones(3), (2, 4))
    with pytest.raises(ModelError, match="expected finite scales, got NaN or infinity"):
        DiagonalView(torch.tensor([float("nan")]), (4,))


def test_uneven_means_get_a_sandwich() -> None:
    # Rows of different length: Schur's test is not the norm, so the record must not say so.
    view = SelectView(lambda v: torch.stack([v[:, :4].mean(1), v[:, 3:].mean(1)], 1), (5,), (2,))
    truth = float(torch.linalg.matrix_norm(dense_of(view), 2))
    bound = view.spectral_norm()
    assert bound.lower <= truth <= bound.value
    assert bound.status == "upper_bound"
    assert bound.value < sqrt(2) * truth
