"""A search confined to given directions that only asks for logits: what directions are worth without the weights.

Legend: b batch, m directions, r rows still searched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.confined import SpanRoom, check_basis
from brittle.attacks.gradient import evaluate
from brittle.attacks.keep import FirstBreak
from brittle.attacks.losses import margin
from brittle.attacks.noise import sample_noise
from brittle.attacks.room import check_samples, search_ball
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball

# How far a proposal moves the weights, relative to their length; it shrinks linearly to nothing.
_SPREAD = 1.0


@dataclass(frozen=True, eq=False)
class SpanSearch:
    """Random search over weights on `basis` (m, *shape), orthonormal rows; an `Attack` that takes no gradient.

    Every sample first tries `+-v_i` for each direction at full length, best first taken as the start; then
    `weights + spread * noise`, kept where the margin rises. Every try is scaled to the ball's surface and clamped to
    the pixel box, which takes it out of the span a little.

    Raises:
        UsageError: tries below one; when called, directions that are not orthonormal or of another shape.
    """

    basis: Tensor
    tries: int = 100

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise UsageError(f"a search in a span needs tries >= 1, got {self.tries}: 100 is usual")

    @property
    def name(self) -> str:
        """ "span-<m>-search-<tries>"."""
        return f"span-{len(self.basis)}-search-{self.tries}"

    @property
    def cost(self) -> int:
        """Queries per sample, at most; no gradients."""
        return 2 * len(self.basis) + self.tries

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, *shape), as the `Attack` protocol says.

        Raises:
            DataError: samples that are not pixels with labels.
            UsageError: as the class says, or a radius below the pixels' resolution.
        """
        check_samples(x, y, indices)
        check_basis(self.basis, tuple(x.shape[1:]))
        room = SpanRoom(search_ball(threat, x), self.basis)
        m, keeper = len(self.basis), FirstBreak(x)
        weights = torch.zeros(len(x), m, dtype=x.dtype, device=x.device)
        best = torch.full_like(weights[:, 0], -torch.inf)
        with frozen(model):
            for corner in torch.cat([torch.eye(m), -torch.eye(m)]).to(x):
                rows = keeper.open()
                if len(rows) == 0:
                    return keeper.x
                _try(model, x, y, rows, corner.expand(len(rows), m), room, keeper, weights, best)
            noise = sample_noise(seed, indices, (self.tries, m), self.name, dtype=x.dtype, device=x.device)
            for number in range(self.tries):
                rows = keeper.open()
                if len(rows) == 0:
                    break
                spread = _SPREAD * (1 - number / self.tries) / m**0.5
                _try(model, x, y, rows, weights[rows] + spread * noise[rows, number], room, keeper, weights, best)
        return keeper.x


def _try(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    rows: Tensor,
    tried: Tensor,
    room: SpanRoom,
    keeper: FirstBreak,
    weights: Tensor,
    best: Tensor,
) -> None:
    """Evaluate weights `tried` (r, m) for the samples `rows`, and move `weights` and `best` where the margin rises."""
    unit = tried / tried.norm(dim=1, keepdim=True).clamp_min(torch.finfo(tried.dtype).tiny)
    centre = x[rows]
    # Far beyond the ball, so that the projection puts every try on its surface.
    outside = (unit @ room.basis.flatten(1).to(x)).view_as(centre) * (x[0].numel() ** 0.5 * room.epsilon * 2)
    points = room.project(centre, centre + outside)
    logits, values = evaluate(model, points, y[rows], margin)
    keeper.see(rows, y[rows], points, logits, values)
    better = values > best[rows]
    weights[rows[better]], best[rows[better]] = unit[better], values[better]
