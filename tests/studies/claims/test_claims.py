"""The twelve claims on made answers, and what each of them is as data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from brittle.results.serialise import dumps
from brittle.studies.answer import answer_claims
from brittle.studies.claims.quick import CLUSTERS, DIGITS
from brittle.studies.claims.table import CLAIMS
from brittle.studies.presets import ClaimsPlan, claims_plan
from tests.studies.claims.made import answers, world


@pytest.fixture(scope="module")
def plan() -> ClaimsPlan:
    return claims_plan("quick")


def test_there_are_twelve_in_order() -> None:
    assert list(CLAIMS) == [f"C{i}" for i in range(1, 13)]
    assert [claim.id for claim in CLAIMS.values()] == list(CLAIMS)
    assert len({claim.title for claim in CLAIMS.values()}) == 12


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_claim_is_complete(claim) -> None:
    assert claim.question.endswith("?")
    assert claim.sources
    assert claim.would_change.endswith(".")
    cells = claim.cells((DIGITS, CLUSTERS))
    assert any(cell.counts for cell in cells)
    assert any(not cell.counts for cell in cells) <= bool(claim.controls)
    assert len({(cell.cell, cell.scale) for cell in cells}) == len(cells)
    for cell in cells:
        names = [one.name for one in cell.outcomes]
        assert {target.outcome for target in claim.criterion.targets} <= set(names)
        assert {cell.predictor.name, *names} <= claim.labels.keys()
        assert len(cell.seeds) >= claim.criterion.least_seeds
        assert len(cell.levels) >= claim.criterion.least_levels
        held = {level.trial.hold_scale or level.trial.source.kind == "spectrum" for level in cell.levels}
        assert held == {cell.scale == "held"}
        assert len({level.name for level in cell.levels}) == len(cell.levels)


def test_claims_without_anything_to_run_have_no_cells() -> None:
    for name in ("C7", "C8", "C10", "C11"):
        assert CLAIMS[name].cells((CLUSTERS,)) == ()


def test_an_effect_that_is_there_is_found_and_noise_is_not(plan: ClaimsPlan) -> None:
    strong = answer_claims(plan, answers(plan, world(0.2)))
    found = {claim.claim: claim for claim in strong.claims}
    for name in ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9"):
        assert found[name].outcome == "supported", found[name].words
    assert {found[name].outcome for name in ("C10", "C11", "C12")} == {"not supported"}
    assert (strong.missing, strong.failed, len(strong.trials)) == (0, 0, len(plan.trials))
    dumps(strong)


def test_noise_is_no_effect_and_the_answer_is_always_the_same(plan: ClaimsPlan) -> None:
    some = [i for i, name in enumerate(CLAIMS) if name in ("C1", "C7", "C8", "C10", "C11", "C12")]
    part = replace(plan, claims=tuple(plan.claims[i] for i in some), cells=tuple(plan.cells[i] for i in some))
    rows = answers(plan, world(0.0))
    none = answer_claims(part, rows)
    assert {claim.outcome for claim in none.claims} <= {"not supported", "inconclusive"}
    assert none == answer_claims(part, rows)


def test_scale_decides_where_it_is_said_to(plan: ClaimsPlan) -> None:
    by_id = dict(zip(CLAIMS, plan.cells, strict=True))
    for name in ("C1", "C2", "C3", "C4", "C6", "C9"):
        assert {cell.scale for cell in by_id[name] if cell.counts} == {"held"}
        assert "free" in {cell.scale for cell in by_id[name] if not cell.counts}
    assert {cell.scale for cell in by_id["C12"] if cell.counts} == {"free"}


def test_pairs_have_one_seed_size_and_parent(plan: ClaimsPlan) -> None:
    by_id = dict(zip(CLAIMS, plan.cells, strict=True))
    for cell in (*by_id["C10"], *by_id["C11"]):
        for level in cell.levels:
            assert level.minus is not None
            one, other = level.trial.source, level.minus.source
            post_hoc = [getattr(source, "of", source) for source in (one, other)]
            assert post_hoc[0].keep == post_hoc[1].keep  # type: ignore[union-attr]
            assert post_hoc[0].finetune == post_hoc[1].finetune  # type: ignore[union-attr]
            fields = {"source", "measures", "threats"}
            assert level.trial.model_dump(exclude=fields) == level.minus.model_dump(exclude=fields)


def test_the_full_preset_has_every_claim_in_every_setting_that_allows_it() -> None:
    plan = claims_plan("full", Path("/data"))
    assert all(cells for cells in plan.cells)
    assert len(plan.trials) == len(set(plan.trials))
