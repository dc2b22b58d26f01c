"""Do one net's perturbations hurt another? Made on each source, scored on each target.

Legend: n scoring samples, the same for all nets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import WorstCase
from brittle.attacks.protocol import Attack
from brittle.attacks.room import search_ball
from brittle.attacks.universal import SteepestAscent, fit_universal
from brittle.errors import UsageError
from brittle.evaluation.accuracy import clean_right
from brittle.evaluation.batches import batches, device_of, prepare
from brittle.evaluation.intervals import wilson
from brittle.evaluation.progress import Progress
from brittle.results.perturbations import Transfer
from brittle.threats import Ball, in_box


class Maker(Protocol):
    """Makes perturbed inputs with one net's weights. Frozen: the same call gives the same answer."""

    @property
    def kind(self) -> str:
        """What it makes, as in `Transfer.kind`."""

    def __call__(self, source: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, batch_size: int, seed: int) -> Tensor:
        """Inputs x_adv (n, *shape) inside the threat around x (n, *shape), made to be misclassified by `source`."""


@dataclass(frozen=True)
class Examples:
    """One perturbation for each sample, made by `attack` on every sample, right or wrong on the source.

    The default looks for the largest loss: an attack that stops at the source's first error ends just across the
    source's boundary, and tells little about another net's.
    """

    attack: Attack = field(default_factory=WorstCase)

    @property
    def kind(self) -> str:
        """ "examples"."""
        return "examples"

    def __call__(self, source: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, batch_size: int, seed: int) -> Tensor:
        """The attack's answers (n, *shape)."""
        device, made = device_of(source, x), torch.empty_like(x)
        for part in batches(torch.arange(len(x), device=x.device), batch_size):
            centre, label = x[part].to(device), y[part].to(device)
            made[part] = self.attack(source, centre, label, threat, indices=part, seed=seed).detach().to(x)
        return made


@dataclass(frozen=True, eq=False)
class UniversalFit:
    """One perturbation for all samples, fitted on the source at x_fit (m, *shape) with labels y_fit (m,).

    The fitting samples should be none of those that are scored.
    """

    x_fit: Tensor
    y_fit: Tensor
    method: SteepestAscent | None = None

    @property
    def kind(self) -> str:
        """ "universal"."""
        return "universal"

    def __call__(self, source: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, batch_size: int, seed: int) -> Tensor:
        """clamp(x + delta), (n, *shape)."""
        delta = fit_universal(
            source, self.x_fit, self.y_fit, threat, method=self.method, seed=seed, batch_size=batch_size
        )
        return in_box(x, delta.to(x))


def transfer_matrix(
    models: Mapping[str, nn.Module],
    x: Tensor,
    y: Tensor,
    threat: Ball,
    makers: Sequence[Maker],
    *,
    batch_size: int,
    seed: int,
    progress: Progress | None = None,
) -> tuple[Transfer, ...]:
    """Every maker on every net, scored on every net: kind by kind, source by source, targets in order.

    `damage_share = (clean - accuracy) / (clean - own accuracy)` of the target, own accuracy being that under the
    perturbations of this kind made on the target itself: 1 on the diagonal, above 1 where another net's are better.

    Args:
        models: nets for the same data by name, at least two; each pixels (b, *shape) in [0, 1] -> logits (b, classes).
        x: scoring pixels (n, *shape), float32 or float64.
        y: their labels (n,) int64.
        threat: the ball.
        makers: such as `Examples()` and `UniversalFit(x_fit, y_fit)`.
        batch_size: the most samples a net sees at once.
        seed: of all randomness.
        progress: told ("transfer", perturbations made, in all).

    Raises:
        UsageError: fewer than two nets, no makers, a maker that leaves ball or box, or numbers out of range.
        DataError, ModelError: samples or nets that cannot be used.
    """
    if len(models) < 2:
        raise UsageError(f"transfer needs at least 2 nets, got {len(models)}: name a source and a target")
    if not makers:
        raise UsageError("transfer needs something to make perturbations with: give Examples() or UniversalFit(x, y)")
    prepare(x, y, None, batch_size)
    search_ball(threat, x)
    clean = {name: _accuracy(model, x, y, batch_size) for name, model in models.items()}
    rows: list[Transfer] = []
    for i, maker in enumerate(makers):
        left: dict[tuple[str, str], float] = {}
        for j, (source, model) in enumerate(models.items()):
            x_adv = maker(model, x, y, threat, batch_size=batch_size, seed=seed)
            _check_inside(maker.kind, source, x, x_adv, threat)
            for target, other in models.items():
                left[source, target] = _accuracy(other, x_adv, y, batch_size)
            if progress is not None:
                progress("transfer", i * len(models) + j + 1, len(makers) * len(models))
        rows += [
            _row(maker.kind, threat, source, target, len(x), clean[target], accuracy, left[target, target])
            for (source, target), accuracy in left.items()
        ]
    return tuple(rows)


def _row(
    kind: str, threat: Ball, source: str, target: str, n: int, clean: float, accuracy: float, own: float
) -> Transfer:
    return Transfer(
        kind=kind,
        norm=threat.norm,
        epsilon=threat.epsilon,
        source=source,
        target=target,
        n=n,
        clean=clean,
        accuracy=accuracy,
        interval95=wilson(round(accuracy * n), n),
        damage_share=(clean - accuracy) / (clean - own) if clean > own else None,
    )


def _accuracy(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> float:
    return float(clean_right(model, x, y, batch_size)[0].double().mean())


def _check_inside(kind: str, source: str, x: Tensor, x_adv: Tensor, threat: Ball) -> None:
    """What leaves the threat is no perturbation of it, and its damage would be no fair share."""
    if x_adv.shape != x.shape:
        raise UsageError(f"{kind} made on {source!r} must have shape {tuple(x.shape)}, got {tuple(x_adv.shape)}")
    length = float(threat.length(x_adv.double() - x.double()).max())
    low, high = float(x_adv.min()), float(x_adv.max())
    if not (length <= threat.epsilon and low >= 0.0 and high <= 1.0):
        raise UsageError(
            f"{kind} made on {source!r} left the threat: {threat.norm} length {length:.9g} for epsilon "
            f"{threat.epsilon:.9g}, pixels in [{low:.9g}, {high:.9g}]: project with a margin for rounding"
        )
