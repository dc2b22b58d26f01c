"""What sensitive directions explain of real attacks: overlaps, and the damage of attacks confined to them.

Legend: n samples, k directions V (k, *shape), m of them in use.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from brittle.errors import DataError
from brittle.evaluation.progress import Progress
from brittle.results.directions import Confined, Explained
from brittle.sensitivity.explained_interval import damage_share
from brittle.sensitivity.explained_outcomes import Outcomes, confined_outcomes
from brittle.sensitivity.overlap import overlaps, random_overlap
from brittle.threats import PIXELS, Ball, Box

# The share of the damage that counts as explained.
_MOST = 0.9


def explain(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    directions: Tensor,
    threat: Ball,
    *,
    name_of_map: str,
    box: Box = PIXELS,
    ms: Sequence[int] | None = None,
    steps: int = 50,
    restarts: int = 1,
    loss: str = "ce",
    draws: int = 3,
    seed: int,
    batch_size: int,
    indices: Tensor | None = None,
    progress: Progress | None = None,
) -> Explained:
    """Compare Auto-PGD in full with Auto-PGD confined to the leading and to random directions, settings alike.

    The damages are what these attacks did: the best attack may do more. The overlaps are those of the perturbations of
    largest loss that the full attack finds, for every sample that the model classifies correctly.

    Args:
        model: pixels (b, *shape) -> logits (b, classes); with the box lifted it also sees pixels outside [0, 1].
        x: pixels (n, *shape) in [0, 1], float32 or float64, that the directions were *not* fitted on.
        y: labels (n,), int64.
        directions: V (k, *shape), orthonormal, the leading one first.
        threat: the ball, for the full and the confined attacks.
        name_of_map: the map whose directions these are.
        box: `PIXELS`; or `EVERYWHERE`, which lifts the box and keeps confined perturbations in the span.
        ms: how many directions to confine to; 1, 2, 4, ..., k by default.
        steps, restarts, loss: of every attack, as in `APGD`.
        draws: independent sets of random orthonormal directions; their outcomes are averaged.
        seed: of starts, random directions and resampling.
        batch_size: the most samples the model sees at once.
        indices: positions of the samples in their data set; 0 ... n - 1 by default.
        progress: told after each attack.

    Raises:
        UsageError: settings out of range, directions that are not orthonormal (k, *shape), a radius below the pixels'
            resolution, a loss that is unknown.
        DataError: samples that cannot be used, or none that the model classifies correctly.
        ModelError: logits that are not finite scores (b, classes), or without a gradient.
    """
    outcomes = confined_outcomes(
        model,
        x,
        y,
        directions,
        threat,
        box=box,
        ms=ms,
        steps=steps,
        restarts=restarts,
        loss=loss,
        draws=draws,
        seed=seed,
        batch_size=batch_size,
        indices=indices,
        progress=progress,
    )
    if not outcomes.right.any():
        raise DataError(f"the model is wrong on all {len(x)} samples: there is no damage to explain, check the labels")
    curve = tuple(_confined(outcomes, m, seed) for m in outcomes.confined)
    clean = float(outcomes.right.mean())
    return Explained(
        map=name_of_map,
        norm=threat.norm,
        epsilon=threat.epsilon,
        n=len(x),
        clean=clean,
        attacked=clean - float(outcomes.full.mean()),
        box=box == PIXELS,
        overlap=overlaps(directions.to(outcomes.delta.device), outcomes.delta),
        overlap_random=random_overlap(x[0].numel()),
        curve=curve,
        m_for_90=next((c.m for c in curve if c.damage is not None and c.damage >= _MOST), None),
    )


def _confined(outcomes: Outcomes, m: int, seed: int) -> Confined:
    broken, random, full = outcomes.confined[m][None], outcomes.random[m], outcomes.full[None]
    share, random_share = damage_share(broken, full, seed), damage_share(random, full, seed)
    clean = float(outcomes.right.mean())
    return Confined(
        m=m,
        accuracy=clean - float(broken.mean()),
        damage=None if share is None else share[0],
        interval95=None if share is None else share[1],
        random_accuracy=clean - float(random.mean()),
        random_damage=None if random_share is None else random_share[0],
        random_interval95=None if random_share is None else random_share[1],
    )
