"""A matrix as it is stored: the same map as the dense view of its values, and no matrices that are none."""

from __future__ import annotations

import pytest
import torch

from brittle.errors import ModelError
from brittle.operators.linear import DenseView
from brittle.operators.stored import StoredView
from brittle.operators.view import LinearView
from tests.cases import normal


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("turned", [False, True])
def test_it_is_the_dense_map(dtype: torch.dtype, turned: bool) -> None:
    stored = normal(4, 6, seed=0).to(dtype)
    view = StoredView(stored.T if turned else stored)
    dense = DenseView((stored.T if turned else stored).double())
    assert isinstance(view, LinearView)
    assert (view.in_shape, view.out_shape, view.terms, view.kind) == (dense.in_shape, dense.out_shape, 6, "linear")
    x, y = normal(3, *view.in_shape, seed=1), normal(3, *view.out_shape, seed=2)
    for name, argument in (("apply", x), ("abs_apply", x), ("adjoint", y), ("abs_adjoint", y)):
        assert torch.equal(getattr(view, name)(argument), getattr(dense, name)(argument))
    assert torch.equal(view.matrix(), dense.matrix())
    assert view.spectral_norm() == dense.spectral_norm()
    assert view.linf_norm() == dense.linf_norm()


def test_no_graph_is_kept_and_no_copy_is_made() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 3))
    view = StoredView(weight)
    assert not view.stored.requires_grad
    assert view.stored.data_ptr() == weight.data_ptr()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2])
def test_numbers_that_are_none_are_refused(value: float, dtype: torch.dtype) -> None:
    stored = torch.ones(2, 3)
    stored[1, 2] = value
    with pytest.raises(ModelError, match="expected finite weights, got NaN or infinity"):
        StoredView(stored.to(dtype))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3)])
def test_what_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"a linear layer needs a weight \(neurons, fan-in\), got shape"):
        StoredView(torch.ones(shape))
