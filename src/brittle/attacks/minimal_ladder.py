"""An ordinary attack made into a minimal one: run it at the rungs of a ladder of radii, downwards, while it wins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.minimal_checks import check_call
from brittle.attacks.minimal_finish import FINISH_COST, draw_closer
from brittle.attacks.minimal_nearest import Nearest, answer, still_right
from brittle.attacks.protocol import Attack
from brittle.attacks.room import search_ball
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball, ball

# From 2^-8 to 2^7 pixel units, eight rungs to each doubling: small l_inf radii to large l_1 radii.
RUNGS = tuple(2.0 ** (k / 8) for k in range(-64, 57))


@dataclass(frozen=True)
class Ladder:
    """`attack` at the largest of `radii` below a sample's known radius, then at the next one, until it fails.

    Made to come last, where it makes minimal radii agree with what `attack` finds at fixed radii: a sample is left at a
    radius only if `attack` failed at the rung below it. Many rungs cost no more than few, since nothing below the
    first failure is tried; where the attacks before did well that is one run per sample. Rungs below the resolution
    of the pixels (see `search_ball`) are left out.

    Raises:
        UsageError: no radii, or radii that are not positive numbers.
    """

    attack: Attack
    radii: tuple[float, ...] = RUNGS

    def __post_init__(self) -> None:
        if not self.radii or not all(0 < radius < float("inf") for radius in self.radii):
            raise UsageError(
                f"a ladder needs positive radii in pixel units, got {self.radii!r}: try (0.01, 0.02, 0.04)"
            )

    @property
    def name(self) -> str:
        """ "<attack> at <number of radii> radii"."""
        return f"{self.attack.name} at {len(self.radii)} radii"

    @property
    def cost(self) -> int:
        """The attack's cost at every radius, mostly at one or two, and three gradients at the end."""
        return self.attack.cost * len(self.radii) + FINISH_COST

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        norm: str,
        *,
        indices: Tensor,
        seed: int,
        limit: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Nearest points and radii, as the `MinimalAttack` protocol says.

        Raises:
            DataError, UsageError: samples, limit or norm that cannot be used.
            UsageError, ModelError: what the attack raises.
        """
        nearest = Nearest(x, y, check_call(x, y, indices, norm, limit))
        positions = indices.to(x.device)
        known = torch.full_like(nearest.radius, torch.inf) if limit is None else limit.to(nearest.radius)
        with frozen(model):
            right = still_right(model, x, y)
            climbing = torch.zeros(len(x), dtype=torch.bool, device=x.device)
            climbing[right] = True
            for threat in _usable(norm, self.radii, x):
                radius = threat.epsilon
                rows = (climbing & (torch.minimum(known, nearest.radius) > radius)).nonzero()[:, 0]
                if len(rows) == 0:
                    continue
                x_adv = self.attack(model, x[rows], y[rows], threat, indices=positions[rows], seed=seed)
                with torch.no_grad():
                    climbing[rows] = nearest.see(rows, x_adv, model(x_adv))
            draw_closer(model, nearest, nearest.found())
            return answer(model, nearest, right, limit)


def _usable(norm: str, radii: tuple[float, ...], x: Tensor) -> list[Ball]:
    """The balls that an attack can search around pixels of this format, largest first."""
    balls = []
    for radius in sorted(set(radii), reverse=True):
        threat = ball(norm, radius)
        try:
            search_ball(threat, x)
        except UsageError:
            break  # and so are all smaller ones
        balls.append(threat)
    return balls
