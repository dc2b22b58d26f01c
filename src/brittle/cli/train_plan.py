"""Options of `brittle train` as people type them, and the plan and the tracker they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from brittle.auditing.options import DEFAULT_EPSILON
from brittle.cli.radii import parse_radii
from brittle.errors import UsageError
from brittle.threats import Ball, ball
from brittle.training.adversarial import OverfittingWatch, objective_named
from brittle.training.objective import CrossEntropy
from brittle.training.penalties import PENALTIES, penalty_named
from brittle.training.plan import Dynamics, HeavyTails, Plan, Weighted
from brittle.training.protocols import Objective, Watch
from brittle.training.tracking import Tracker

# Which options each adversarial objective takes, beside its ball.
OBJECTIVE_OPTIONS: dict[str, tuple[str, ...]] = {
    "pgd": ("steps", "share"),
    "trades": ("steps", "beta"),
    "fast": (),
    "universal": (),
}
NORMS = ("linf", "l2")
# Looks of the tracker over a run, where the user does not say.
_LOOKS = 10


@dataclass(frozen=True)
class PlanTexts:
    """What was typed beside the dynamics; None and empty where it was not."""

    penalties: tuple[str, ...]
    proximal: bool
    hold_scale: bool
    layers: tuple[str, ...]
    adversarial: str | None
    norm: str
    epsilon: tuple[str, ...]
    steps: int | None
    beta: float | None
    share: float | None

    def plan(self, dynamics: Dynamics) -> Plan:
        """The run that the options describe.

        Raises:
            UsageError: an option that cannot be read, is out of its range, or has nothing to act on.
        """
        if not self.penalties and self.proximal:
            raise UsageError("--proximal says how penalties act: add --penalty NAME=STRENGTH, or leave it out")
        if self.layers and not (self.penalties or self.hold_scale):
            raise UsageError("--layers says what penalties act on: add --penalty NAME=STRENGTH or --hold-scale")
        return Plan(
            dynamics=dynamics,
            objective=self._objective(),
            penalties=tuple(parse_penalty(text, proximal=self.proximal) for text in self.penalties),
            layers=self.layers or None,
            hold_scale=self.hold_scale,
        )

    def threats(self, input_shape: tuple[int, ...]) -> tuple[Ball, ...]:
        """The balls that the tracker attacks in: those asked for, else the audit's for such images."""
        radii = self._radii()
        if not radii:
            radii = DEFAULT_EPSILON["colour" if len(input_shape) == 3 and input_shape[0] == 3 else "grey"][self.norm]
        return tuple(ball(self.norm, radius) for radius in sorted(set(radii)))

    def watch(self, track: int | None, epochs: int, input_shape: tuple[int, ...]) -> Watch | None:
        """What looks at the net every `track` epochs (None: ten times in the run); 0 is nothing at all.

        Fast adversarial training is also watched for catastrophic overfitting, which ends the run.

        Raises:
            UsageError: a negative number of epochs, or radii that cannot be read.
        """
        if track is not None and track < 0:
            raise UsageError(f"--track is a number of epochs between two looks, got {track}: 0 is for none")
        every = -(-epochs // _LOOKS) if track is None else track
        threats = self.threats(input_shape)
        if every == 0:
            return None
        if self.adversarial != "fast":
            return Tracker(threats=threats, every=every)
        # The watch runs the tracker's attack in this ball itself.
        return OverfittingWatch(threats[0], also=Tracker(threats=threats[1:], every=every), every=every)

    def _radii(self) -> tuple[float, ...]:
        if self.norm not in NORMS:
            raise UsageError(f"unknown norm {self.norm!r}: expected one of {', '.join(NORMS)}")
        return (parse_radii(self.epsilon, (self.norm,)) or {}).get(self.norm, ())

    def _objective(self) -> Objective:
        typed = {"steps": self.steps, "beta": self.beta, "share": self.share}
        given = {name: value for name, value in typed.items() if value is not None}
        radii = self._radii()
        if self.adversarial is None:
            if given:
                raise UsageError(f"--{next(iter(given))} belongs to adversarial training: add --adversarial pgd")
            return CrossEntropy()
        build = objective_named(self.adversarial)
        if len(radii) != 1:
            raise UsageError(
                f"adversarial training needs one radius, got {len(radii)}: give one, such as --epsilon 8/255"
            )
        _check_taken(self.adversarial, given)
        return build(ball(self.norm, radii[0]), **given)


def _check_taken(name: str, given: dict[str, Any]) -> None:
    for option in given:
        if option not in OBJECTIVE_OPTIONS[name]:
            takers = [other for other, options in OBJECTIVE_OPTIONS.items() if option in options]
            raise UsageError(
                f"--adversarial {name} has no --{option}: leave it out, or take --adversarial {' or '.join(takers)}"
            )


def parse_penalty(text: str, *, proximal: bool) -> Weighted:
    """`NAME=STRENGTH`.

    Raises:
        UsageError: another form, an unknown penalty, a strength that is no number >= 0, or no known proximal step.
    """
    name, equals, number = text.partition("=")
    try:
        strength = float(number) if equals else None
    except ValueError:
        strength = None
    if strength is None:
        raise UsageError(f"cannot read penalty {text!r}: expected NAME=STRENGTH, such as nuclear=0.001")
    penalty = penalty_named(name)
    if not 0 <= strength < float("inf"):
        raise UsageError(f"penalty {name}: the strength must be >= 0, got {number}: start with 0.001")
    if proximal and not hasattr(penalty, "prox"):
        known = ", ".join(key for key, value in PENALTIES.items() if hasattr(value, "prox"))
        raise UsageError(f"penalty {name} has no proximal step: leave --proximal out, or take one of {known}")
    return Weighted(name, strength, proximal)


def parse_noise(text: str | None) -> HeavyTails | None:
    """`ALPHA:SCALE`; None stays None.

    Raises:
        UsageError: another form, or numbers out of their range.
    """
    if text is None:
        return None
    parts: Sequence[str] = text.split(":")
    try:
        alpha, scale = (float(part) for part in parts)
    except ValueError:
        raise UsageError(f"cannot read gradient noise {text!r}: expected ALPHA:SCALE, such as 1.8:0.001") from None
    return HeavyTails(alpha, scale)
