"""Products with J and J^t agree with the dense Jacobian, for every way of making them, and say when there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import TorchDispatchMode

from brittle.directions.linearise import LINEARISERS, DoubleBackward, ForwardMode, Lineariser, lineariser_for
from brittle.errors import ModelError
from brittle.models.frozen import frozen
from tests.directions.dense import NETS, jacobians, pixels
from tests.operators.nets import Step


@pytest.mark.parametrize("lineariser", LINEARISERS)
@pytest.mark.parametrize("name", NETS)
def test_products_are_those_of_the_dense_jacobian(name: str, lineariser: Lineariser) -> None:
    make, shape = NETS[name]
    body = make().double().body
    x = pixels(3, shape).double()
    j = jacobians(body, x)
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(shape, dtype=torch.float64, generator=generator)
    u = torch.randn(3, j.shape[1], dtype=torch.float64, generator=generator)
    with frozen(body):
        linear = lineariser(lambda z: body(z).flatten(1), x)
        for _ in range(2):  # products can be repeated
            torch.testing.assert_close(linear.jvp(v), j @ v.flatten())
            torch.testing.assert_close(linear.vjp(u).flatten(1), torch.einsum("nji,nj->ni", j, u))
        torch.testing.assert_close(linear.outputs, body(x).flatten(1))


@pytest.mark.parametrize("name", [name for name in NETS if name != "dilated, transposed sizes, padding by name"])
def test_a_product_with_j_costs_one_convolution_per_layer(name: str) -> None:
    make, shape = NETS[name]
    body = make().body
    layers = sum(isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) for m in body.modules())

    class Count(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen += "conv" in str(func)
            return func(*args, **(kwargs or {}))

    with frozen(body):
        linear = DoubleBackward(lambda z: body(z).flatten(1), pixels(2, shape))
        with Count() as count:
            linear.jvp(torch.ones(shape))
    assert count.seen == layers


class _OnceOnly(torch.autograd.Function):
    """A square whose backward pass cannot be differentiated, but which knows its forward derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0] * grad

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0] * tangent


class _Silent(_OnceOnly):
    """The same, but differentiating the backward pass gives nothing instead of an error; no forward derivative."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return (2 * ctx.saved_tensors[0] * grad).detach()

    jvp = torch.autograd.Function.jvp  # type: ignore[assignment]


def test_forward_mode_takes_over_where_the_backward_pass_cannot_be_differentiated() -> None:
    x = pixels(1, (5,))
    assert lineariser_for(_OnceOnly.apply, x) is ForwardMode
    torch.testing.assert_close(ForwardMode(_OnceOnly.apply, x).jvp(torch.ones(5)), 2 * x)
    assert lineariser_for(torch.square, x) is DoubleBackward


@pytest.mark.parametrize("beside", [0.0, 1.0])
def test_a_silently_wrong_second_pass_is_noticed(beside: float) -> None:
    with pytest.raises(ModelError, match=r"differentiated forward or twice backward, got: .+; use the margin map"):
        lineariser_for(lambda x: _Silent.apply(x) + beside * x, pixels(1, (5,)))


def test_outputs_without_a_graph_are_refused() -> None:
    with pytest.raises(ModelError, match=r"outputs without a graph.*take the differentiable model"):
        lineariser_for(Step(lambda x: x.detach() * 2), pixels(1, (3,)))


def test_outputs_and_derivatives_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ModelError, match="expected finite outputs, got NaN or infinity: check the weights"):
        lineariser_for(lambda x: x / 0, pixels(1, (3,)))
    with pytest.raises(ModelError, match="expected finite derivatives, got NaN or infinity: look for square roots"):
        lineariser_for(lambda x: x.sqrt(), torch.zeros(1, 3))


def test_outputs_beside_the_pixels_have_a_zero_jacobian() -> None:
    w = torch.ones(1, 2, requires_grad=True)
    linear = DoubleBackward(lambda x: w.expand(len(x), 2) * 3, pixels(4, (3,)))
    assert not linear.jvp(torch.ones(3)).any()
    assert not linear.vjp(torch.ones(4, 2)).any()
