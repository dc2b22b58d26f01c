"""The measures by name."""

from __future__ import annotations

from brittle.errors import UsageError
from brittle.studies.measures.accuracy import clean, robust
from brittle.studies.measures.attacks import alignment, amplification, gap
from brittle.studies.measures.bound import bound
from brittle.studies.measures.known import known
from brittle.studies.measures.scene import Measure
from brittle.studies.measures.structure import structure
from brittle.studies.measures.transferred import transferred
from brittle.studies.measures.universal import universal

# What a trial's field `measures` names -> what measures it; each says which numbers it gives.
MEASURES: dict[str, Measure] = {
    "clean": clean,
    "robust": robust,
    "structure": structure,
    "bound": bound,
    "gap": gap,
    "alignment": alignment,
    "amplification": amplification,
    "universal": universal,
    "transfer": transferred,
    "known": known,
}


def check_measures(names: tuple[str, ...]) -> None:
    """Refuse a name that is not in `MEASURES`.

    Raises:
        UsageError: with the names that are.
    """
    for name in names:
        if name not in MEASURES:
            raise UsageError(f"unknown measure {name!r}: expected one of {', '.join(MEASURES)}")
