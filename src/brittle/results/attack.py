"""The record of `brittle attack` (schema "brittle.attack/1"): what one or more attacks did to one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from brittle.results.audit import Check, DataInfo, ModelInfo, Settings
from brittle.results.directions import DirectionSet, Explained
from brittle.results.perturbations import RadiusCurve, Transfer, Universal
from brittle.results.robustness import AttackStep, Outcomes

ATTACK_SCHEMA: Final = "brittle.attack/1"


@dataclass(frozen=True)
class Attempt:
    """Attacks at one radius, in order, each on what stood up to those before: fractions of n.

    `attacked` is an upper bound on the robust accuracy, `interval95` its Wilson interval; `noise` is the accuracy under
    random perturbations of full length.
    """

    norm: str
    epsilon: float
    n: int
    clean: float
    attacked: float
    interval95: tuple[float, float]
    noise: float
    steps: tuple[AttackStep, ...]


@dataclass(frozen=True)
class AttackResult:
    """Everything `brittle attack` found; what was not asked for is empty.

    `attempts` come from attacks at a radius, `radii` from minimal ones, `universal` from one perturbation for all
    inputs, `directions` and `explained` from attacks along sensitive directions, `transfer` from perturbations made on
    a surrogate. `outcomes` as in an audit: strings of 0 and 1 for "clean" and every radius.
    """

    schema: Literal["brittle.attack/1"]
    brittle: str
    seed: int
    model: ModelInfo
    data: DataInfo
    preflight: tuple[Check, ...]
    attacks: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    radii: tuple[RadiusCurve, ...]
    universal: tuple[Universal, ...]
    directions: dict[str, DirectionSet]
    explained: tuple[Explained, ...]
    transfer: tuple[Transfer, ...]
    outcomes: Outcomes
    settings: Settings
    partial: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary, as in `attack.json`."""
        from brittle.results.serialise import to_dict

        return to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AttackResult:
        """The result that `to_dict` turned into `values`; DataError if it is none."""
        from brittle.results.serialise import from_dict

        return from_dict(cls, values)
