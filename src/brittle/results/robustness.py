"""Records about accuracies: what was certified, what an attack reached, what random noise did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class AttackStep:
    """Accuracy left (fraction of all n) after one attack of the cascade."""

    attack: str
    accuracy: float


@dataclass(frozen=True)
class Robustness:
    """The bracket `certified <= true robust accuracy <= attacked` at one radius, fractions of n.

    `interval95` is the Wilson interval of `attacked`; `noise` is the accuracy under random perturbations of full
    length (the control: general fragility); `certified_by` names the certificate.
    """

    norm: str
    epsilon: float
    n: int
    clean: float
    certified: float
    attacked: float
    attack: str
    interval95: tuple[float, float]
    noise: float
    certified_by: str
    steps: tuple[AttackStep, ...]


@dataclass(frozen=True)
class Outcomes:
    """What happened to each sample, in order: strings of 0 and 1 (1 = right), keys such as "clean", "linf@0.05",
    "noise:linf@0.05", "certified:linf@0.05". Two audits with equal `sha256` of the data can be paired by these."""

    right: dict[str, str]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Example:
    """An input, what the attack made of it, and the difference, as PNG data URIs (base64)."""

    norm: str
    epsilon: float
    index: int
    label: str
    predicted: str
    attacked: str
    clean_png: str
    attacked_png: str
    delta_png: str


def threat_key(norm: str, epsilon: float) -> str:
    """The key of a norm and radius, "linf@0.05"."""
    return f"{norm}@{epsilon:g}"


def bits(mask: Iterable[object]) -> str:
    """Truth values as a string of 0 and 1, as `Outcomes` holds them."""
    return "".join("1" if bit else "0" for bit in mask)
