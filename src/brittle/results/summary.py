"""`summary.json` of the demo (schema "brittle.summary/1")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

SUMMARY_SCHEMA: Final = "brittle.summary/1"


@dataclass(frozen=True)
class NetSummary:
    """One net, mean over seeds: fractions for accuracies, percentage points for drops against the original.

    Keys are threats such as "linf@0.05"; `drop_points` and `interval95` also hold "clean". With several seeds the
    interval covers seeds and test samples, with one seed the test samples only.
    """

    name: str
    method: str
    parameters: int
    clean: float
    robust: dict[str, float]
    certified: dict[str, float]
    drop_points: dict[str, float]
    interval95: dict[str, tuple[float, float]]
    verdict: str


@dataclass(frozen=True)
class Summary:
    """All nets of a demo run; `samples` test images were attacked for each of `seeds`."""

    schema: Literal["brittle.summary/1"]
    nets: tuple[NetSummary, ...]
    report: str
    samples: int
    seeds: tuple[int, ...]
