"""The nearest class boundary of a network made linear at a point, and when a point counts as misclassified.

Legend: b samples, c classes, k candidate classes, d pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.losses import margin
from brittle.attacks.minimal_norms import Norm
from brittle.errors import ModelError

# Logits that another batch shape may round differently, relative to the largest of the sample.
_ROUNDING = 8

Candidates = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Boundary:
    """`z_l - z_y` near a point p, for the class l whose linearised boundary is nearest: `gap + <normal, p' - p>`.

    Attributes:
        logits: (b, c) at the point.
        gap: (b,) float64, negative on the label's side.
        normal: (b, d) float64.
    """

    logits: Tensor
    gap: Tensor
    normal: Tensor


def likeliest_wrong(logits: Tensor, y: Tensor, count: int) -> Tensor:
    """The `count` wrong classes of largest logit (all of them where there are fewer), (b, k), largest first."""
    wrong = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
    return wrong[:, : min(count, logits.shape[1] - 1)]


def nearest_boundary(model: nn.Module, x: Tensor, y: Tensor, candidates: Candidates, norm: Norm) -> Boundary:
    """The boundary between label and candidate at the least `|z_l - z_y| / ||gradient||_*` (Croce & Hein 2020, eq. 5).

    Args:
        model: frozen; pixels (b, *shape) -> logits (b, c).
        x: points (b, *shape).
        y: labels (b,).
        candidates: from logits (b, c) to the wrong classes worth a gradient, (b, k).
        norm: distances are measured in it.

    Raises:
        ModelError: no gradient flows from the logits to the pixels.
    """
    with torch.enable_grad():
        pixels = x.detach().clone().requires_grad_()
        logits = model(pixels)
        if not logits.requires_grad:
            raise ModelError(
                "expected logits that depend on the pixels by differentiable operations, got logits without a graph "
                "(quantised, detached or exported model): attack the differentiable model it was made from"
            )
        classes = candidates(logits.detach())
        # One row of pixels belongs to one sample, so the gradient of the sum holds every sample's own gradient.
        gaps = logits.gather(1, classes) - logits.gather(1, y[:, None])
        least = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)
        gap, normal = gaps.detach()[:, 0].double(), torch.zeros_like(x, dtype=torch.float64).flatten(1)
        for k in range(classes.shape[1]):
            last = k == classes.shape[1] - 1
            (gradient,) = torch.autograd.grad(gaps[:, k].sum(), pixels, retain_graph=not last, materialize_grads=True)
            w, g = torch.nan_to_num(gradient).double().flatten(1), gaps.detach()[:, k].double()
            steepness = norm.ball.dual_length(w)
            distance = torch.where(steepness > 0, g.abs() / steepness, torch.inf)
            nearer = distance < least
            least = torch.where(nearer, distance, least)
            gap = torch.where(nearer, g, gap)
            normal = torch.where(nearer[:, None], w, normal)
    return Boundary(logits.detach(), gap, normal)


def excess(logits: Tensor, y: Tensor) -> Tensor:
    """Margin beyond what rounding could undo, (b,): a point counts as misclassified where it is positive.

    A minimal attack ends next to a boundary, where a model fed with another batch might change its mind.
    """
    return margin(logits, y) - _ROUNDING * torch.finfo(logits.dtype).eps * logits.abs().amax(1)
