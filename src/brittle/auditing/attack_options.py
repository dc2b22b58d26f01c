"""What `brittle attack` runs, checked before any work starts."""

from __future__ import annotations

from dataclasses import dataclass

from brittle.attacks.protocol import Attack
from brittle.attacks.table import ATTACKS, EFFORTS, MINIMAL_ATTACKS, attack_named, effort_named
from brittle.auditing.options import DEFAULT_EPSILON, AuditOptions
from brittle.errors import UsageError
from brittle.threats import BALLS, Ball, ball

# Attacks that are fitted on some samples and scored on others.
FITTED = ("universal", "directional")
# The prefix of names that stand for all attacks of an audit's effort.
EFFORT = "effort-"
# Radii for the norm that audits do not know.
_L1_EPSILON = {"grey": (4.0,), "colour": (12.0,)}


def attack_names() -> tuple[str, ...]:
    """Every name that `--attack` takes."""
    return (*ATTACKS, *MINIMAL_ATTACKS, *FITTED, *(f"{EFFORT}{name}" for name in EFFORTS))


@dataclass(frozen=True)
class AttackOptions:
    """Options of `brittle attack`.

    Attributes:
        attacks: names in `attack_names()`; those at a radius form one cascade, in this order.
        norm: "linf", "l2" or "l1".
        epsilon: radii, pixel units; empty takes the defaults for the data.
        samples: test samples drawn, None for all.
        fit: samples that directions and universal perturbations are fitted on.
        target: class that a universal perturbation pushes to; None for any other.
        directions: how many directions, at most, an attack along directions uses.
        batch_size, seed, device, time_limit: as in an audit.

    Raises:
        UsageError: a value out of range; the message names it.
    """

    attacks: tuple[str, ...] = (f"{EFFORT}thorough",)
    norm: str = "linf"
    epsilon: tuple[float, ...] = ()
    samples: int | None = 1000
    fit: int = 1000
    target: int | None = None
    directions: int = 8
    batch_size: int = 256
    seed: int = 0
    device: str = "cpu"
    time_limit: float | None = None

    def __post_init__(self) -> None:
        AuditOptions(  # the checks they share
            samples=self.samples,
            batch_size=self.batch_size,
            seed=self.seed,
            device=self.device,
            time_limit=self.time_limit,
        )
        if not self.attacks:
            raise UsageError(f"no attack given: name one or more of {', '.join(attack_names())}")
        for name in self.attacks:
            if name not in attack_names():
                raise UsageError(f"unknown attack {name!r}: expected one of {', '.join(attack_names())}")
        if self.norm not in BALLS:
            raise UsageError(f"unknown norm {self.norm!r}: expected one of {', '.join(BALLS)}")
        for epsilon in self.epsilon:
            ball(self.norm, epsilon)
        if self.fit < 1 or self.directions < 1:
            raise UsageError(f"fit and directions must be at least 1, got {self.fit} and {self.directions}")
        if self.target is not None and "universal" not in self.attacks:
            raise UsageError("a target class is for universal perturbations: add --attack universal, or leave it out")
        if self.norm == "l1" and "directional" in self.attacks:
            raise UsageError("attacks along directions exist in linf and l2, got norm l1: choose one of these")

    @property
    def chain(self) -> tuple[Attack, ...]:
        """The attacks at a radius, in order."""
        return tuple(attack for name in self.attacks for attack in _at_radius(name))

    @property
    def fits(self) -> bool:
        """Whether anything is fitted on samples of its own."""
        return any(name in FITTED for name in self.attacks)

    def threats(self, input_shape: tuple[int, ...]) -> tuple[Ball, ...]:
        """The balls, radii ascending; `input_shape` is (channels, height, width) or (d,)."""
        kind = "colour" if len(input_shape) == 3 and input_shape[0] == 3 else "grey"
        default = _L1_EPSILON[kind] if self.norm == "l1" else DEFAULT_EPSILON[kind][self.norm]
        return tuple(ball(self.norm, epsilon) for epsilon in sorted(set(self.epsilon or default)))


def _at_radius(name: str) -> tuple[Attack, ...]:
    """The attacks at a radius behind one name; none for a minimal or a fitted one."""
    if name in ATTACKS:
        return (attack_named(name),)
    return effort_named(name.removeprefix(EFFORT)) if name.startswith(EFFORT) else ()
