"""What a minimal attack remembers and hands back: per sample the nearest misclassified point.

Legend: b batch, r rows (positions in the batch).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.attacks.minimal_boundary import excess
from brittle.attacks.minimal_norms import Norm


class Nearest:
    """Per sample the nearest misclassified point seen; a point counts by the distance of its stored pixels."""

    def __init__(self, x: Tensor, y: Tensor, norm: Norm) -> None:
        self.centre, self.y, self.norm = x, y, norm
        self.x = x.detach().clone()
        self.radius = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)

    def see(self, rows: Tensor, points: Tensor, logits: Tensor) -> Tensor:
        """Take note of `points` (r, *shape) of the samples `rows` (r,); which are misclassified, (r,) bool."""
        broken = excess(logits, self.y[rows]) > 0
        radius = distance(self.norm, self.centre[rows], points)
        nearer = broken & (radius < self.radius[rows])
        self.x[rows[nearer]] = points[nearer]
        self.radius[rows[nearer]] = radius[nearer]
        return broken

    def found(self) -> Tensor:
        """Rows with a misclassified point, ascending."""
        return torch.isfinite(self.radius).nonzero()[:, 0]


def distance(norm: Norm, x: Tensor, points: Tensor) -> Tensor:
    """Length of `points - x` in float64, (b, *shape), (b, *shape) -> (b,)."""
    return norm.ball.length((points.double() - x.double()).flatten(1))


def still_right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Rows classified correctly as they are, ascending: the others need no attack."""
    with torch.no_grad():
        return (model(x).argmax(1) == y).nonzero()[:, 0]


def answer(model: nn.Module, nearest: Nearest, right: Tensor, limit: Tensor | None) -> tuple[Tensor, Tensor]:
    """What a `MinimalAttack` returns, the model asked again about the whole batch.

    Args:
        model: frozen.
        nearest: the points found.
        right: rows that were attacked, the others are misclassified as they are.
        limit: see `MinimalAttack`.
    """
    attacked = torch.zeros(len(nearest.y), dtype=torch.bool, device=nearest.y.device)
    attacked[right] = True
    with torch.no_grad():
        broken = model(nearest.x).argmax(1) != nearest.y
    kept = (
        broken
        & attacked
        & (torch.isfinite(nearest.radius) if limit is None else nearest.radius < limit.to(nearest.radius))
    )
    shown = kept.view(-1, *([1] * (nearest.x.dim() - 1)))
    radius = torch.where(kept, nearest.radius, torch.where(attacked, torch.inf, 0.0))
    return torch.where(shown, nearest.x, nearest.centre), radius
