"""How many multiply-adds a forward pass takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from brittle.errors import ModelError
from brittle.models.frozen import frozen
from brittle.models.messages import first_line


def multiply_adds(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one forward pass on one input of `input_shape`, by running it once.

    Counted are convolutions and matrix products (dense layers, attention), as torch.utils.flop_counter knows them, two
    of its operations for one multiply-add. Biases, norms, activations, poolings and sums are not; zeros in the weights
    count like any other number.

    Raises:
        ModelError: a model that does not run on such inputs.
    """
    x = made_batch(model, input_shape, 1, seed=0)
    counter = FlopCounterMode(display=False)
    with frozen(model), torch.no_grad(), counter:
        run(model, x)
    return counter.get_total_flops() // 2


def made_batch(model: nn.Module, input_shape: tuple[int, ...], batch: int, *, seed: int) -> Tensor:
    """Pixels (batch, *input_shape), uniform in [0, 1], in the model's number format and on its device.

    Raises:
        ModelError: sizes below 1.
    """
    if batch < 1 or not input_shape or min(input_shape) < 1:
        raise ModelError(f"a batch needs positive sizes, got {batch} inputs of shape {tuple(input_shape)}")
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    return torch.rand(batch, *input_shape, generator=torch.Generator().manual_seed(seed)).to(like)


def run(model: nn.Module, x: Tensor) -> Tensor:
    """The model's outputs on x.

    Raises:
        ModelError: it fails on x, or returns no tensor.
    """
    try:
        y = model(x)
    except Exception as error:  # whatever the model's code raises
        raise ModelError(
            f"the model fails on inputs of shape {tuple(x.shape[1:])} ({first_line(error)}): give the shape that it "
            "was made for"
        ) from None
    if not isinstance(y, Tensor):
        raise ModelError(f"expected a tensor of logits from the model, got a {type(y).__name__}")
    return y
