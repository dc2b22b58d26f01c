"""The numbers that claims look at, by the names that all their cells share; accuracies and shares in points."""

from __future__ import annotations

from typing import Final, Literal

from brittle.studies.claims.claim import Quantity
from brittle.studies.trial import Threat

# The measures, in the order in which trials name them.
MEASURE_NAMES: Final = (
    "clean",
    "robust",
    "structure",
    "bound",
    "gap",
    "alignment",
    "amplification",
    "universal",
    "transfer",
    "known",
)
# What `TrialRow.measures` begins with -> the measure that gives it.
_MEASURED_BY: Final = {
    "clean": "clean",
    "robust": "robust",
    "ratio": "robust",
    "structure": "structure",
    "bound": "bound",
    "gap": "gap",
    "log_gap": "gap",
    "alignment": "alignment",
    "alignment_random": "alignment",
    "amplification": "amplification",
    "amplification_noise": "amplification",
    "amplification_lift": "amplification",
    "universal": "universal",
    "universal_random": "universal",
    "universal_lift": "universal",
    "transfer": "transfer",
    "known": "known",
}
# Of those, the fractions.
_FRACTIONS: Final = (
    "clean",
    "robust",
    "ratio",
    "alignment",
    "alignment_random",
    "universal",
    "universal_random",
    "universal_lift",
    "transfer",
    "known",
)

# The same in words; what is not here is called by its own name.
_WORDS: Final = {
    "clean": "clean accuracy",
    "robust": "robust accuracy",
    "ratio": "the ratio robust / clean",
    "gap": "the gap of cross-entropy",
    "log_gap": "the log of the gap of cross-entropy",
    "alignment": "the attacks' energy in leading directions",
    "amplification": "the relative change of the representation",
    "universal": "the universal perturbation's fooling rate",
    "universal_lift": "the universal perturbation's fooling rate beyond random",
    "known": "the robust accuracy of the task's best network, by its formula,",
    "structure.neuron": "neuron compressibility",
    "structure.spectral": "spectral compressibility",
}

CLEAN: Final = Quantity("clean", "clean", 100.0)
# Both rise with compressibility; the share of the leading tenth of row norms or singular values.
COMPRESSIBILITY: Final = {
    "neuron": Quantity("neuron", "structure.neuron", 100.0),
    "spectral": Quantity("spectral", "structure.spectral", 100.0),
}
Structure = Literal["neuron", "spectral"]


def measure_of(name: str) -> str | None:
    """The measure that gives a number, by the number's dotted name; None where none does."""
    return _MEASURED_BY.get(name.partition(".")[0])


def points_of(name: str) -> float:
    """100 for the numbers that are fractions, else 1."""
    return 100.0 if name.partition(".")[0] in _FRACTIONS else 1.0


def spoken(name: str) -> str:
    """A number's dotted name for people: "robust accuracy at linf 0.05"."""
    if name.startswith("transfer."):
        return f"{spoken(name.removeprefix('transfer.'))} on the target task"
    kind, at, epsilon = name.partition("@")
    kind, _, norm = kind.rpartition(".") if at else (kind, "", "")
    words = _WORDS.get(kind, name)
    return f"{words} at {norm} {epsilon}" if at and kind in _WORDS else words


def robust(threat: Threat, name: str = "robust") -> Quantity:
    """Robust accuracy, points."""
    return Quantity(name, f"robust.{threat.key}", 100.0, threat)


def ratio(threat: Threat, name: str = "ratio") -> Quantity:
    """Robust over clean accuracy, points."""
    return Quantity(name, f"ratio.{threat.key}", 100.0, threat)


def both(threat: Threat, suffix: str = "") -> tuple[Quantity, Quantity]:
    """Robust accuracy and ratio, named with a suffix where a claim looks at two norms."""
    return robust(threat, f"robust{suffix}"), ratio(threat, f"ratio{suffix}")


def at(threat: Threat, kind: str, name: str, factor: float = 1.0) -> Quantity:
    """The number `kind` at a threat, such as "alignment" or "log_gap"."""
    return Quantity(name, f"{kind}.{threat.key}", factor, threat)
