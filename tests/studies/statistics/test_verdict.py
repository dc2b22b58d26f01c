from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from brittle.errors import UsageError
from brittle.results.serialise import dumps, from_dict, to_dict
from brittle.results.study import ClaimVerdict
from brittle.studies.statistics.criterion import Criterion
from brittle.studies.statistics.designs import Pairs
from brittle.studies.verdict import ClaimCase, decide
from tests.studies.statistics.made import BOTH, ROBUST, both, falling, table

RNG = np.random.default_rng(0)


def cell(total, noise=0.5, name="low rank, digits", **more):
    return both(falling(RNG, total, noise), falling(RNG, total, noise), name=name, **more)


def one(*cells, criterion=BOTH, seed=0, **more):
    (verdict,) = decide([ClaimCase("C2", "title", "question?", criterion, cells)], seed, bootstrap=50, **more)
    return verdict


def test_the_four_outcomes_of_one_cell():
    assert one(cell(20)).outcome == "supported"
    assert one(cell(-20)).outcome == "contradicted"
    assert one(cell(0, noise=0.3)).outcome == "not supported"
    assert one(cell(0, noise=8)).outcome == "inconclusive"


def test_records_are_filled_and_travel_as_json():
    made = cell(20, scale="held")
    case = ClaimCase("C2", "t", "q?", BOTH, (made,), ("low rank",), ("scale held",), "a larger net")
    (verdict,) = decide([case], 0, bootstrap=50)
    assert (verdict.claim, verdict.title, verdict.question, verdict.would_change) == ("C2", "t", "q?", "a larger net")
    assert (verdict.sources, verdict.controls) == (("low rank",), ("scale held",))
    assert verdict.criterion == BOTH.words(0.05)
    (first,) = verdict.cells
    robust, ratio = first.trends
    assert (first.cell, first.scale, first.counts) == ("low rank, digits", "held", True)
    assert robust.cell == "low rank, digits, scale held"
    assert verdict.labels == {}
    assert (robust.outcome, ratio.outcome, robust.predictor) == ("robust", "ratio", "rank share")
    assert (robust.levels, robust.seeds) == (6, 5)
    assert robust.statistic < 0
    assert robust.p < 0.01
    assert robust.rho < -0.9
    assert robust.pearson < -0.9
    assert robust.rho_interval95[0] <= robust.rho <= robust.rho_interval95[1]
    assert robust.effect.value == pytest.approx(-20, abs=1)
    assert robust.effect.seeds == 5
    assert from_dict(ClaimVerdict, to_dict(verdict)) == verdict
    dumps(verdict)  # no NaN, no infinity
    low, high = robust.effect.interval95
    assert f"{-robust.effect.value:.1f} points of robust accuracy are lost [{-high:.1f}, {-low:.1f}]" in verdict.words
    assert verdict.words.startswith("Supported: at the strongest setting")
    assert "5 seeds" in verdict.words
    assert "seen in 1 of 1 cell;" in verdict.words
    assert first.outcome == "supported"
    assert "before any correction" in first.words


def test_flat_outcomes_make_finite_records():
    (flat,) = one(both(np.full((5, 6), 40.0), np.full((5, 6), 50.0))).cells
    dumps(flat)
    assert flat.trends[0].p == 1.0
    assert flat.trends[0].rho_interval95 == (-1.0, 1.0)


def test_holm_is_over_the_claims_given():
    claims = [ClaimCase(f"C{i}", "", "", BOTH, (cell(20 * (i == 0), 1.0),)) for i in range(12)]
    verdicts = decide(claims, 0, bootstrap=5)
    order = sorted(range(12), key=lambda i: verdicts[i].p)
    assert order[0] == 0
    assert verdicts[0].p_holm == pytest.approx(12 * verdicts[0].p)
    assert verdicts[order[1]].p_holm == pytest.approx(min(1, max(11 * verdicts[order[1]].p, verdicts[0].p_holm)))
    assert verdicts[0].outcome == "supported"
    untested = ClaimCase("none", "", "", BOTH, ())
    assert decide([claims[0], untested], 0, bootstrap=5)[0].p_holm == pytest.approx(2 * verdicts[0].p)


def test_the_correction_decides():
    # p of one claim alone passes 0.05, and does not among 12.
    y = 50 - 4 * np.linspace(0, 1, 6) * (1 + np.array([0.4, -0.5, 0.1, 0.3, -0.3]))[:, None]
    made = both(y, y)
    p = one(made).p
    assert 0.05 / 12 < p < 0.04
    others = [ClaimCase(f"C{i}", "", "", BOTH, ()) for i in range(11)]
    (verdict, *_) = decide([ClaimCase("C", "", "", BOTH, (made,)), *others], 0, bootstrap=5)
    assert (one(made).outcome, verdict.outcome) == ("supported", "inconclusive")
    assert verdict.cells[0].outcome == "supported"  # cells are not corrected


def test_cells_without_enough_seeds_levels_or_compressibility_test_nothing():
    hole = falling(RNG, 20)
    hole[2, 3] = np.nan
    made = both(hole, falling(RNG, 20))
    short = one(made)
    assert (short.outcome, short.p) == ("inconclusive", 1.0)
    assert "4 complete seeds and 6 levels, 5 and 5 are needed" in short.words
    assert "5 and 5 are needed" in one(cell(20).take((0, 1, 2, 5))).words
    flat = cell(20, x=np.random.default_rng(0).normal(size=(5, 6)))
    verdict = one(flat, cell(20, name="rows"))
    assert verdict.cells[0].trends == ()
    assert verdict.cells[0].outcome == "inconclusive"
    assert "Left out: low rank, digits, scale free: its networks did not become more compressible" in verdict.words
    assert verdict.outcome == "supported"
    assert "1 of 1 cell;" in verdict.words
    assert one(flat, criterion=replace(BOTH, premise=False)).outcome == "supported"
    later = replace(cell(20), seeds=(5, 6, 7, 8, 9))
    assert one(cell(20), later).words.startswith("Inconclusive: the cells have too few seeds in common")
    assert "no cell could be tested" in one().words


def test_an_average_of_opposites_is_no_answer():
    mixed = one(cell(20), cell(-20, name="rows"))
    assert mixed.outcome == "inconclusive"
    strong = one(cell(20), cell(20, name="rows"), cell(-8, name="ours"))
    assert strong.outcome == "inconclusive"
    assert "The cells disagree" in strong.words
    # The average of two cells lies within the smallest effect, each of them does not.
    assert one(cell(10, 0.2), cell(-10, 0.2, name="rows")).outcome == "inconclusive"
    against = one(cell(-20), cell(-20, name="rows"), cell(8, name="ours"))
    assert against.p_holm < 0.05
    assert against.outcome == "inconclusive"


def test_an_effect_of_a_few_cells_is_not_the_claim():
    rare = [cell(40), *(cell(0.5, 0.4, name=f"cell {i}") for i in range(3))]
    assert one(*rare).outcome == "inconclusive"
    assert "seen in 1 of 4 cells" in one(*rare).words
    assert one(*rare, criterion=replace(BOTH, prevalence=0.25)).outcome == "supported"


def test_cells_that_do_not_count_are_shown_and_scales_stand_apart():
    free = cell(-20, name="nuclear", scale="free", counts=False)
    held = cell(20, name="nuclear", scale="held")
    verdict = one(free, held)
    assert verdict.outcome == "supported"
    assert verdict.p == one(held).p
    assert [c.outcome for c in verdict.cells] == ["contradicted", "supported"]
    held_at, free_at = verdict.words.index("Scale held (1 cell)"), verdict.words.index("Scale free (1 cell)")
    assert "are lost" in verdict.words[held_at:free_at]
    assert "are gained" in verdict.words[free_at:]
    assert "Scale" not in one(held).words


def test_robust_accuracy_that_falls_only_with_clean_accuracy_is_not_supported():
    made = both(falling(RNG, 20), falling(RNG, 0, 0.3))
    assert one(made).outcome == "not supported"
    assert one(made, criterion=Criterion((ROBUST,))).outcome == "supported"


def test_no_room_to_fall_is_said():
    made = both(falling(RNG, 0, 0.1, start=1.0), falling(RNG, 0, 3))
    verdict = one(made)
    assert verdict.outcome == "inconclusive"
    assert "too little room" in verdict.cells[0].words


def test_paired_claims():
    pairs = Criterion((replace(ROBUST, direction=1, limit=None),), Pairs(), premise=False)
    keeps = one(table({"robust": RNG.normal(5, 1, (5, 6))}), criterion=pairs)
    assert keeps.outcome == "supported"
    assert "on average over settings" in keeps.words


def test_same_seed_same_records():
    cells = (cell(2), cell(3, name="rows"))
    assert one(*cells) == one(*cells)
    assert one(*cells, seed=1) != one(*cells)


def test_bad_input():
    case = ClaimCase("C", "", "", BOTH, (cell(1),))
    with pytest.raises(UsageError, match="claims with different names"):
        decide([case, case], 0)
    with pytest.raises(UsageError, match=r"alpha in \(0, 1\)"):
        decide([case], 0, alpha=5)
    with pytest.raises(UsageError, match="has no outcome 'ratio'"):
        one(table({"robust": falling(RNG, 1)}))


def test_controls_of_another_name_are_not_averaged_with_the_sources():
    free, held = (cell(20, name="nuclear", scale=scale, counts=scale == "held") for scale in ("free", "held"))
    other = cell(-40, name="scale alone", scale="free", counts=False)
    assert one(free, held, other).words == one(free, held).words
    assert "Scale" not in one(held, other).words


def test_labels_and_all_seeds_are_in_the_record():
    y = falling(RNG, 20)
    y[1, 2] = np.nan
    keys = tuple(tuple((f"{seed}-{level}",) for level in range(6)) for seed in range(5))
    case = ClaimCase("C2", "t", "q?", BOTH, (both(y, y, trials=keys, counts=False),), labels={"robust": "robustness"})
    (verdict,) = decide([case], 0, bootstrap=50)
    (cell,) = verdict.cells
    assert verdict.labels == {"robust": "robustness"}
    assert not cell.counts
    assert cell.data.seeds == (0, 1, 2, 3, 4)
    assert cell.data.outcomes["robust"][1][2] is None
    assert cell.data.outcomes["robust"][1][3] == y[1, 3]
    assert cell.data.trials == keys
    assert from_dict(ClaimVerdict, to_dict(verdict)) == verdict


def test_of_many_cells_that_wait_two_are_named():
    short = [cell(20, name=f"cell {i}").rows((0, 1)) for i in range(4)]
    words = one(*short, replace(short[0], cell="control", counts=False)).words
    assert "Left out: cell 0, scale free: 2 complete seeds" in words
    assert words.endswith("cell 1, scale free: 2 complete seeds and 6 levels, 5 and 5 are needed; and 2 more cells.")
    assert "control" not in words
