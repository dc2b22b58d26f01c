"""The loss and its gradient at the pixels, per sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.attacks.losses import Loss
from brittle.errors import ModelError


def evaluate(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Logits (b, classes) and losses (b,) at x, without a graph."""
    with torch.no_grad():
        logits = model(x)
        return logits, loss(logits, y)


def input_gradient(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (b, classes), losses (b,) and the gradient of each sample's loss at its own pixels (b, *shape).

    A gradient entry that is not a number counts as zero. Call it on a frozen model.

    Raises:
        ModelError: no gradient flows from the logits to the pixels.
    """
    with torch.enable_grad():
        pixels = x.detach().clone().requires_grad_()
        logits = model(pixels)
        values = loss(logits, y)
        if not values.requires_grad:
            raise ModelError(
                "expected logits that depend on the pixels by differentiable operations, got logits without a graph "
                "(quantised, detached or exported model): attack the differentiable model it was made from"
            )
        # Samples do not share pixels, so the gradient of the sum holds every sample's own gradient.
        (gradient,) = torch.autograd.grad(values.sum(), pixels, materialize_grads=True)
    return logits.detach(), values.detach(), torch.nan_to_num(gradient)


def direction(gradient: Tensor) -> Tensor:
    """Each sample's gradient divided by its largest entry, (b, ...) -> (b, ...): only its direction is used.

    Saturated losses have gradients such as 1e-30, whose squares vanish in float32.
    """
    largest = gradient.flatten(1).abs().amax(1).view(-1, *([1] * (gradient.dim() - 1)))
    return gradient / largest.clamp_min(torch.finfo(gradient.dtype).tiny)
