"""Robust accuracy as a function of the radius, from the smallest perturbation found for every sample.

Legend: n samples, b a batch of at most `batch_size`. No result depends on the batch size beyond rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from time import monotonic

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import APGD
from brittle.attacks.deepfool import DeepFool
from brittle.attacks.fab import FAB
from brittle.attacks.minimal import MinimalAttack
from brittle.attacks.minimal_ladder import Ladder
from brittle.attacks.minimal_nearest import distance
from brittle.attacks.minimal_norms import norm_named
from brittle.errors import UsageError
from brittle.evaluation.accuracy import clean_right
from brittle.evaluation.batches import Progress, batches, device_of, prepare
from brittle.models.frozen import frozen
from brittle.results.perturbations import RadiusCurve

# Cheap first: what each attack reaches is where the next one starts.
RADIUS_ATTACKS: tuple[MinimalAttack, ...] = (DeepFool(), FAB(steps=30, classes=3), Ladder(APGD(50)))

_SHARES = ("0.1", "0.25", "0.5", "0.75", "0.9")


@dataclass(frozen=True)
class Smallest:
    """The smallest perturbation found for each sample.

    Attributes:
        x_adv: (n, *shape), x itself where the model is wrong already or nothing was found.
        radius: (n,) float64, pixel units: 0 where the model is wrong already, infinite where nothing was found.
        attacks: the attacks that ran; the last is named "... (stopped)" when the deadline cut it short.
    """

    x_adv: Tensor
    radius: Tensor
    attacks: tuple[str, ...]


def smallest_perturbations(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    norm: str,
    attacks: Sequence[MinimalAttack] = RADIUS_ATTACKS,
    *,
    batch_size: int,
    seed: int,
    indices: Tensor | None = None,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> Smallest:
    """Run all attacks on every sample that the model gets right, and keep the nearest misclassified point.

    Each radius bounds the sample's robust radius from above: the model, asked again, misclassifies x_adv, which is in
    the pixel box and at that distance from x (float64).

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, classes); evaluated in evaluation mode.
        x: pixels (n, *shape), float32 or float64.
        y: labels (n,), int64.
        norm: "linf", "l2" or "l1".
        attacks: in this order, each told what the ones before it reached.
        batch_size: the most samples the model sees at once.
        seed: of all randomness.
        indices: positions of the samples in their data set, (n,) int64; 0 ... n - 1 by default.
        progress: told after each batch.
        deadline: a reading of `time.monotonic()` after which no further batch is attacked.

    Raises:
        UsageError, DataError, ModelError: as `clean_right`; UsageError also for an unknown norm, for no attacks, and
            for an attack that leaves the pixel box or misstates its radius.
    """
    measure = norm_named(norm)
    if not attacks:
        raise UsageError("expected at least one minimal attack, got none: try RADIUS_ATTACKS")
    positions = prepare(x, y, indices, batch_size)
    device = device_of(model, x)
    names: list[str] = []
    with frozen(model):
        right, _ = clean_right(model, x, y, batch_size)
        x_adv = x.detach().clone()
        radius = torch.where(right, inf, torch.zeros(len(x), dtype=torch.float64, device=x.device))
        rows = right.nonzero()[:, 0]
        for attack in attacks:
            done = 0
            for part in batches(rows, batch_size):
                if deadline is not None and monotonic() >= deadline:
                    return Smallest(x_adv, radius, (*names, f"{attack.name} (stopped)"))
                centre, label = x[part].to(device), y[part].to(device)
                limit = radius[part].to(device)
                answer, length = attack(model, centre, label, norm, indices=positions[part], seed=seed, limit=limit)
                answer = answer.detach()
                told = torch.where(torch.isfinite(length), length, 0.0)
                _check_answer(attack.name, answer, distance(measure, centre, answer), told)
                with torch.no_grad():
                    broken = model(answer).argmax(1) != label
                nearer = (broken & (length < limit)).to(x.device)
                x_adv[part[nearer]] = answer.to(x)[nearer]
                radius[part[nearer]] = length.to(radius)[nearer]
                done += len(part)
                if progress is not None:
                    progress(attack.name, done, len(rows))
            names.append(attack.name)
    return Smallest(x_adv, radius, tuple(names))


def radius_curve(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    norm: str,
    attacks: Sequence[MinimalAttack] = RADIUS_ATTACKS,
    *,
    batch_size: int,
    seed: int,
    indices: Tensor | None = None,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> RadiusCurve:
    """The radii of `smallest_perturbations`, whose arguments and errors it shares, and their quantiles.

    The quantile of share q is the smallest radius at which q of the samples that are right without a perturbation are
    broken; None where so many were not broken at all.
    """
    found = smallest_perturbations(
        model,
        x,
        y,
        norm,
        attacks,
        batch_size=batch_size,
        seed=seed,
        indices=indices,
        progress=progress,
        deadline=deadline,
    )
    radii = tuple(radius if isfinite(radius) else None for radius in found.radius.tolist())
    broken = sorted(inf if radius is None else radius for radius in radii if radius != 0.0)
    return RadiusCurve(
        norm=norm,
        attack=", ".join(found.attacks),
        n=len(radii),
        radii=radii,
        quantiles={share: _quantile(broken, float(share)) for share in _SHARES},
    )


def robust_accuracy_at(curve: RadiusCurve, epsilon: float) -> float:
    """Share of the curve's n samples that nothing broke within `epsilon` (pixel units, the ball is closed).

    An upper bound on robust accuracy at that radius; the clean accuracy at 0.

    Raises:
        UsageError: a radius below zero or not a number, or a curve without samples.
    """
    if not epsilon >= 0:
        raise UsageError(f"a radius is a number >= 0 in pixel units, got {epsilon!r}")
    if curve.n == 0:
        raise UsageError("expected a curve of at least one sample, got none: measure some first")
    return sum(radius is None or radius > epsilon for radius in curve.radii) / curve.n


def _quantile(radii: list[float], share: float) -> float | None:
    """The inverse of the empirical distribution function of sorted radii."""
    if not radii:
        return None
    radius = radii[max(ceil(round(share * len(radii), 9)) - 1, 0)]
    return radius if isfinite(radius) else None


def _check_answer(name: str, x_adv: Tensor, length: Tensor, told: Tensor) -> None:
    """A radius that is too small would contradict certificates that hold."""
    low, high = float(x_adv.min()), float(x_adv.max())
    if not (low >= 0.0 and high <= 1.0 and bool((length <= told * (1 + 1e-12)).all())):
        raise UsageError(
            f"attack {name} must return pixels in [0, 1] at the distances it states, got pixels in "
            f"[{low:.9g}, {high:.9g}] and distances up to {float((length - told).max()):.3g} larger: measure what is "
            "returned, in float64"
        )
