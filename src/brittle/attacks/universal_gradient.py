"""How a goal changes with a perturbation that all samples share.

Legend: b samples; the goal of sample i is measured at clamp(x_i + delta), delta (*shape).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.attacks.gradient import input_gradient
from brittle.attacks.losses import Loss
from brittle.threats import PIXELS, in_box


def shared_gradient(model: nn.Module, x: Tensor, labels: Tensor, delta: Tensor, loss: Loss, batch_size: int) -> Tensor:
    """Sum over samples of the loss's derivative in delta, (*shape), one-sided at the walls of the pixel box.

    Where x_i + delta lies at or beyond a wall, the derivative of the clamp is zero: a pixel that has been pushed out
    would never hear from sample i again, and on dark backgrounds many pixels get stuck. So there the
    derivative at the wall counts where it points into the box, and is zero only where it points out.

    Args:
        model: frozen; pixels (b, *shape) -> logits (b, classes).
        x: pixels (b, *shape) on the model's device.
        labels: what the loss is measured against, (b,).
        delta: the perturbation (*shape).
        loss: maps logits and labels to (b,).
        batch_size: the most samples the model sees at once.

    Raises:
        ModelError: no gradient flows from the logits to the pixels.
    """
    total = torch.zeros_like(delta)
    for part, goal in zip(x.split(batch_size), labels.split(batch_size), strict=True):
        moved = part + delta
        _, _, gradient = input_gradient(model, in_box(part, delta), goal, loss)
        outward = ((moved <= PIXELS.low) & (gradient < 0)) | ((moved >= PIXELS.high) & (gradient > 0))
        total += gradient.masked_fill(outward, 0.0).sum(0)
    return total


def shared_logits(model: nn.Module, x: Tensor, delta: Tensor, batch_size: int) -> Tensor:
    """Logits at clamp(x + delta) for all samples x (n, *shape), (n, classes), on the perturbation's device."""
    with torch.no_grad():
        return torch.cat([model(in_box(part.to(delta.device), delta)) for part in x.split(batch_size)])
