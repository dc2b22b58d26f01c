"""Records of a study: `study.json` (schema "brittle.study/1"). Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

STUDY_SCHEMA: Final = "brittle.study/1"
Outcome = Literal["supported", "not supported", "contradicted", "inconclusive"]


@dataclass(frozen=True)
class TrialRow:
    """A finished trial: `key` hashes configuration and code version; `measures` are flat numbers by dotted name.

    Accuracies are fractions ("robust.linf@0.05"); `right` are per-sample masks kept elsewhere, never in this record.
    `code` is the version of the code that ran it, as `studies.keys.code_version` names it.
    """

    key: str
    config: dict[str, Any]
    measures: dict[str, float]
    seconds: float
    code: str = ""


@dataclass(frozen=True)
class Effect:
    """One measured effect: `points` in the outcome's unit, with its 95 % interval over seeds, and what it compares."""

    name: str
    value: float
    interval95: tuple[float, float]
    unit: str
    seeds: int


@dataclass(frozen=True)
class Trend:
    """A monotone trend of an outcome over strengths, seeds as blocks: `p` two-sided, `rho` with its interval."""

    cell: str
    predictor: str
    outcome: str
    levels: int
    seeds: int
    statistic: float
    p: float
    rho: float
    rho_interval95: tuple[float, float]
    pearson: float
    pearson_interval95: tuple[float, float]
    effect: Effect


@dataclass(frozen=True)
class CellData:
    """What a cell's figure is drawn from: n seeds down, k levels across, and the trials behind each number.

    Attributes:
        levels: k names, the reference first.
        seeds: n training seeds.
        predictor: name of x.
        x: (n, k) values; None where a trial is missing.
        outcomes: (n, k) values by name, accuracies in points.
        trials: (n, k) keys of the trials each point was made from (two where it is a difference).
    """

    levels: tuple[str, ...]
    seeds: tuple[int, ...]
    predictor: str
    x: tuple[tuple[float | None, ...], ...]
    outcomes: dict[str, tuple[tuple[float | None, ...], ...]]
    trials: tuple[tuple[tuple[str, ...], ...], ...]


@dataclass(frozen=True)
class CellVerdict:
    """The claim in one cell (source x task x scale): its trends and what they say there, before any correction.

    `counts` is False for a control, which is shown beside the answer and does not decide.
    """

    cell: str
    scale: str
    counts: bool
    trends: tuple[Trend, ...]
    outcome: Outcome
    words: str
    data: CellData


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim's verdict: `p` of the whole claim, `p_holm` after Holm's correction over all claims of the study.

    `labels` name the predictors and outcomes of its cells in words that a reader understands. `effects` are those over
    all cells that decide, a sentence for each outcome, () where nothing could be tested; `seen` of `tested` cells show
    them.
    """

    claim: str
    title: str
    question: str
    criterion: str
    labels: dict[str, str]
    sources: tuple[str, ...]
    controls: tuple[str, ...]
    cells: tuple[CellVerdict, ...]
    p: float
    p_holm: float
    outcome: Outcome
    effects: tuple[str, ...]
    seen: int
    tested: int
    words: str
    would_change: str


@dataclass(frozen=True)
class StudyResult:
    """A study that was run, as far as it went: `missing` and `failed` count trials without an answer."""

    schema: Literal["brittle.study/1"]
    brittle: str
    name: str
    preset: str
    question: str
    trials: tuple[TrialRow, ...]
    claims: tuple[ClaimVerdict, ...]
    missing: int
    failed: int
    alpha: float
    command: str | None
    seconds: float
