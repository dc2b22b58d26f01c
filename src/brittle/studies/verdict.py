"""Verdicts: cells in, records of claims out. The rule is `statistics.evidence.rule`, fixed before any run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from brittle.errors import UsageError
from brittle.results.study import CellVerdict, ClaimVerdict, Outcome, Trend
from brittle.studies.cell_data import cell_data
from brittle.studies.statistics.correlation import pearson, spearman
from brittle.studies.statistics.criterion import Criterion
from brittle.studies.statistics.evidence import Evidence, gather, measure, rule, sentences, shows
from brittle.studies.statistics.over_seeds import mean_interval
from brittle.studies.statistics.signed import holm
from brittle.studies.statistics.table import CellTable
from brittle.studies.statistics.words import change, count, p_words


@dataclass(frozen=True, eq=False)
class ClaimCase:
    """A claim, its criterion, and what was measured. The texts go into the record as they are."""

    claim: str
    title: str
    question: str
    criterion: Criterion
    cells: tuple[CellTable, ...]
    sources: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    would_change: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Cell:
    """A cell after its own tests; `evidence` is None where it tests nothing, and `why` says why.

    `table` has complete seeds only, `given` all.
    """

    given: CellTable
    table: CellTable
    evidence: Evidence | None
    why: str = ""


def decide(
    cases: Sequence[ClaimCase],
    seed: int,
    alpha: float = 0.05,
    resamples: int = 9_999,
    bootstrap: int = 2_000,
) -> tuple[ClaimVerdict, ...]:
    """The verdicts of all claims of a study, in order; Holm's correction is over exactly these claims.

    A claim that could not be tested (no cell, too few seeds) counts with p = 1: leaving it out helps no other claim.

    Args:
        cases: the claims.
        seed: of permutations and bootstraps; the same tables and seed give the same records.
        alpha: family-wise level in (0, 1).
        resamples: permutations drawn, where p is not exact.
        bootstrap: draws for the intervals of correlations.

    Raises:
        UsageError: alpha outside (0, 1), names given twice, a table without an outcome its criterion names, or a pool
            whose cells do not share their first level.
    """
    names = [case.claim for case in cases]
    if not 0 < alpha < 1 or len(set(names)) != len(names):
        raise UsageError(f"expected alpha in (0, 1) and claims with different names, got {alpha!r} and {names}")
    judged = [[_judge(case.criterion, table, seed, resamples) for table in case.cells] for case in cases]
    together = [_together(case.criterion, cells, seed, resamples) for case, cells in zip(cases, judged, strict=True)]
    raw = [1.0 if evidence is None else evidence.test.p for evidence in together]
    verdicts = []
    for case, cells, evidence, p, p_holm in zip(cases, judged, together, raw, holm(raw), strict=True):
        outcome = _outcome(case.criterion, cells, evidence, p_holm, alpha)
        verdicts.append(
            ClaimVerdict(
                claim=case.claim,
                title=case.title,
                question=case.question,
                criterion=case.criterion.words(alpha),
                labels=case.labels,
                sources=case.sources,
                controls=case.controls,
                cells=tuple(_cell_verdict(case.criterion, cell, seed, alpha, bootstrap) for cell in cells),
                p=p,
                p_holm=p_holm,
                outcome=outcome,
                effects=() if evidence is None else sentences(case.criterion, evidence.effects),
                seen=sum(shows(one, case.criterion, 1) for _, one in _deciding(cells)),
                tested=len(_deciding(cells)),
                words=_words(case.criterion, cells, evidence, p_holm, alpha, outcome),
                would_change=case.would_change,
            )
        )
    return tuple(verdicts)


def _judge(criterion: Criterion, table: CellTable, seed: int, resamples: int) -> _Cell:
    for target in criterion.targets:
        table.outcome(target.outcome)  # a wrong name is an error even where the cell is then left out
    given, table = table, table.complete()
    if len(table.seeds) < criterion.least_seeds or len(table.levels) < criterion.least_levels:
        have = f"{count(len(table.seeds), 'complete seed')} and {count(len(table.levels), 'level')}"
        return _Cell(given, table, None, f"{have}, {criterion.least_seeds} and {criterion.least_levels} are needed")
    rise = table.x[:, -1] - table.x[:, 0]
    if criterion.premise and not mean_interval(rise)[0] > 0:
        said = change(table.predictor, "", float(rise.mean()), mean_interval(rise))
        return _Cell(given, table, None, f"its networks did not become more compressible ({said})")
    return _Cell(given, table, gather(criterion, [table], seed, resamples))


def _deciding(cells: Sequence[_Cell]) -> list[tuple[CellTable, Evidence]]:
    return [(cell.table, cell.evidence) for cell in cells if cell.evidence is not None and cell.table.counts]


def _common(tables: Sequence[CellTable]) -> list[CellTable]:
    """The tables with only the seeds that all of them have."""
    seeds = tuple(seed for seed in tables[0].seeds if all(seed in table.seeds for table in tables))
    return [table.rows(seeds) for table in tables]


def _together(criterion: Criterion, cells: Sequence[_Cell], seed: int, resamples: int) -> Evidence | None:
    tables = [table for table, _ in _deciding(cells)]
    if not tables:
        return None
    common = _common(tables)
    return gather(criterion, common, seed, resamples) if len(common[0].seeds) >= criterion.least_seeds else None


def _outcome(
    criterion: Criterion, cells: Sequence[_Cell], evidence: Evidence | None, p_holm: float, alpha: float
) -> Outcome:
    """The rule on all cells together, unless single cells say that an average hides something."""
    if evidence is None:
        return "inconclusive"
    tested = [one for _, one in _deciding(cells)]
    adjusted = holm([one.test.p for one in tested])
    single = {rule(one, criterion, p, alpha) for one, p in zip(tested, adjusted, strict=True)}
    outcome = rule(evidence, criterion, p_holm, alpha)
    seen = sum(shows(one, criterion, 1) for one in tested)
    opposite = sum(shows(one, criterion, -1) for one in tested)
    least = criterion.prevalence * len(tested)
    disagree = {
        "supported": seen < least or "contradicted" in single,
        "contradicted": opposite < least or "supported" in single,
        "not supported": bool(single & {"supported", "contradicted"}),
        "inconclusive": False,
    }
    return "inconclusive" if disagree[outcome] else outcome


def _cell_verdict(criterion: Criterion, cell: _Cell, seed: int, alpha: float, bootstrap: int) -> CellVerdict:
    table, evidence = cell.table, cell.evidence
    name = f"{table.cell}, scale {table.scale}"
    trends: tuple[Trend, ...] = ()
    outcome: Outcome = "inconclusive"
    words = f"{name}: {cell.why}"
    if evidence is not None:
        targets = range(len(criterion.targets))
        trends = tuple(_trend(criterion, table, name, evidence, i, seed, bootstrap) for i in targets)
        outcome = rule(evidence, criterion, evidence.test.p, alpha)
        effects = f"{'; '.join(sentences(criterion, evidence.effects))}, {count(len(table.seeds), 'seed')}"
        floor = "" if all(evidence.room) else "; the reference leaves too little room to see an effect"
        words = f"{name}: {effects}, {p_words(evidence.test.p)} before any correction{floor}"
    return CellVerdict(table.cell, table.scale, table.counts, trends, outcome, words, cell_data(cell.given))


def _trend(
    criterion: Criterion, table: CellTable, name: str, evidence: Evidence, i: int, seed: int, bootstrap: int
) -> Trend:
    y = table.outcome(criterion.targets[i].outcome)
    rho, r = spearman(table.x, y, seed, bootstrap), pearson(table.x, y, seed, bootstrap)
    return Trend(
        cell=name,
        predictor=table.predictor,
        outcome=criterion.targets[i].outcome,
        levels=len(table.levels),
        seeds=len(table.seeds),
        statistic=evidence.tests[i].statistic,
        p=evidence.tests[i].p,
        rho=rho.value,
        rho_interval95=rho.interval95,
        pearson=r.value,
        pearson_interval95=r.interval95,
        effect=evidence.effects[i],
    )


def _words(
    criterion: Criterion,
    cells: Sequence[_Cell],
    evidence: Evidence | None,
    p_holm: float,
    alpha: float,
    outcome: Outcome,
) -> str:
    tested = _deciding(cells)
    left_out = _left_out([cell for cell in cells if cell.why and cell.table.counts])
    if evidence is None:
        why = "the cells have too few seeds in common" if tested else "no cell could be tested"
        return f"Inconclusive: {why}.{left_out}"
    seen = sum(shows(one, criterion, 1) for _, one in tested)
    seeds = count(evidence.effects[0].seeds, "seed")
    said = (
        f"{outcome.capitalize()}: {'; '.join(sentences(criterion, evidence.effects))}, {seeds}; "
        f"seen in {seen} of {count(len(tested), 'cell')}; {p_words(p_holm)} after Holm's correction."
    )
    if outcome != rule(evidence, criterion, p_holm, alpha):
        said += " The cells disagree, so their average does not answer."
    return said + _by_scale(criterion, cells) + left_out


def _left_out(cells: Sequence[_Cell]) -> str:
    """Two cells that decide and could not be tested, with their reasons, and how many more."""
    if not cells:
        return ""
    said = "; ".join(f"{cell.table.cell}, scale {cell.table.scale}: {cell.why}" for cell in cells[:2])
    more = f"; and {count(len(cells) - 2, 'more cell')}" if len(cells) > 2 else ""
    return f" Left out: {said}{more}."


def _by_scale(criterion: Criterion, cells: Sequence[_Cell]) -> str:
    """Held and free scale apart, of the deciding cells and those of the same name; nothing where there is only one."""
    names = {table.cell for table, _ in _deciding(cells)}
    tested = [cell.table for cell in cells if cell.evidence is not None and cell.table.cell in names]
    scales = sorted({table.scale for table in tested}, reverse=True)
    said = ""
    for scale in scales if len(scales) > 1 else []:
        common = _common([table for table in tested if table.scale == scale])
        if len(common[0].seeds) >= 2:
            said += (
                f" Scale {scale} ({count(len(common), 'cell')}): "
                f"{'; '.join(sentences(criterion, measure(criterion, common)))}."
            )
    return said
