"""How near a search has come to each wrong class.

Legend: b batch, c classes; rows are positions in the batch; z logits, y the label.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Reach:
    """Per sample the first misclassified point, before there is one the point of the largest margin, and the gaps.

    A `Keeper` whose answers do not depend on the loss that is being raised.

    Args:
        x: samples (b, *shape).
        y: labels (b,).
        logits: the model's at x, (b, c).
    """

    def __init__(self, x: Tensor, y: Tensor, logits: Tensor) -> None:
        self.x = x.detach().clone()
        self.broken = logits.argmax(1) != y
        # The label's own place stays infinitely far.
        self.gaps = _gaps(logits, y)
        self.nearest_gap = self.gaps.amin(1)
        self._scale = self.nearest_gap.clamp_min(torch.finfo(logits.dtype).tiny)[:, None]
        self._tries = torch.zeros_like(self.gaps)

    def see(self, rows: Tensor, y: Tensor, points: Tensor, logits: Tensor, values: Tensor) -> None:
        """Take the points that break their sample first, or come nearer to any class than before while it stands."""
        gaps = _gaps(logits, y)
        smallest = gaps.amin(1)
        broken = logits.argmax(1) != y
        better = ~self.broken[rows] & (broken | (smallest < self.nearest_gap[rows]))
        chosen = rows[better]
        self.x[chosen], self.nearest_gap[chosen] = points[better], smallest[better]
        self.gaps[rows] = torch.minimum(self.gaps[rows], gaps)
        self.broken[rows] |= broken

    def wants(self, rows: Tensor) -> Tensor:
        """Those not misclassified yet."""
        return ~self.broken[rows]

    def open(self) -> Tensor:
        """Samples not misclassified yet."""
        return (~self.broken).nonzero()[:, 0]

    def try_class(self, rows: Tensor, goal: Tensor) -> None:
        """Count one more try of class `goal` (r,) for the samples `rows` (r,)."""
        self._tries[rows, goal] += 1

    def nearest(self) -> tuple[Tensor, Tensor]:
        """The class to try next and its distance `(tries + 1)^2 gap / clean gap`, (b,) int64 and (b,)."""
        distance, goal = (self.gaps / self._scale * (self._tries + 1) ** 2).min(1)
        return goal, distance


def _gaps(logits: Tensor, y: Tensor) -> Tensor:
    """`z_y - z_j`, infinite for j = y, (b, c)."""
    return (logits.gather(1, y[:, None]) - logits).scatter(1, y[:, None], torch.inf)
