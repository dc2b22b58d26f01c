"""How much of the sensitivity stages each effort runs."""

from __future__ import annotations

from dataclasses import dataclass

from brittle.attacks.apgd import APGD
from brittle.attacks.deepfool import DeepFool
from brittle.attacks.fab import FAB
from brittle.attacks.minimal import MinimalAttack
from brittle.attacks.minimal_ladder import Ladder
from brittle.attacks.universal import SteepestAscent
from brittle.attacks.universal_start import RandomStart
from brittle.threats import EVERYWHERE, PIXELS, Box


@dataclass(frozen=True)
class Depth:
    """Work of the stages after the brackets.

    Attributes:
        fit: samples that directions are fitted on.
        score: samples that directions, universal perturbations and adversaries without the weights are scored on.
        maps: whose directions, names in `brittle.directions.network.MAPS`.
        boxes: pixel boxes under which attacks are confined to directions.
        steps: of confined attacks, and of the attack behind amplification and landscape.
        universal: samples that a universal perturbation is fitted on.
        ascent: how it is searched.
        radius_attacks: searches for minimal radii.
        radius_samples: how many samples get a minimal radius.
        probe: samples that the causal probe's heads are fitted on, 0 for no probe.
        queries: whether adversaries with queries alone are tried, and the signs of masked gradients that need them.
    """

    fit: int
    score: int
    maps: tuple[str, ...]
    boxes: tuple[Box, ...]
    steps: int
    universal: int
    ascent: SteepestAscent
    radius_attacks: tuple[MinimalAttack, ...]
    radius_samples: int
    probe: int
    queries: bool

    @property
    def most_fitted(self) -> int:
        """Fitting samples that the stages want, at most."""
        return max(self.fit, self.universal, self.probe)

    def gradients(self, directions: int) -> float:
        """Gradients that one norm costs, all samples together, for the forecast: confined attacks (the curve takes m =
        1, 2, 4, ... directions, leading and three random sets), universal perturbation, radii, amplification; the
        products behind the directions themselves count as two gradients each."""
        curve = 2 + 4 * directions.bit_length() if directions else 0
        confined = len(self.maps) * len(self.boxes) * curve * self.steps * self.score
        found = 2 * _PRODUCTS * self.fit if directions else 0
        universal = self.ascent.steps * self.ascent.minibatch * len(self.ascent.starts)
        return found + confined + universal + _PER_RADIUS * self.radius_samples + self.steps * self.score


# Products with E[J^T J] until directions have converged, and gradients behind one minimal radius: what runs showed.
_PRODUCTS, _PER_RADIUS = 64, 150

# Quick audits stop after the brackets.
DEPTHS: dict[str, Depth] = {
    "standard": Depth(
        fit=64,
        score=200,
        maps=("representation", "margin"),
        boxes=(PIXELS,),
        steps=20,
        universal=500,
        ascent=SteepestAscent(steps=150, starts=(RandomStart(),)),
        radius_attacks=(DeepFool(), FAB(steps=15, classes=2), Ladder(APGD(20))),
        radius_samples=200,
        probe=0,
        queries=False,
    ),
    "thorough": Depth(
        fit=256,
        score=500,
        maps=("representation", "margin"),
        boxes=(PIXELS, EVERYWHERE),
        steps=50,
        universal=2000,
        ascent=SteepestAscent(),
        radius_attacks=(DeepFool(), FAB(steps=30, classes=3), Ladder(APGD(50))),
        radius_samples=500,
        probe=2000,
        queries=True,
    ),
}
