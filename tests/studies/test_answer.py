"""From rows to records, for the claims and for a user's study."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from brittle.results.serialise import from_dict, to_dict
from brittle.results.study import StudyResult, TrialRow
from brittle.studies.answer import answer_claims, answer_study, rows_of
from brittle.studies.checked import study_from
from brittle.studies.grid import expand
from brittle.studies.jobs import Finished
from brittle.studies.keys import trial_key
from brittle.studies.lease import new_holder
from brittle.studies.presets import ClaimsPlan, claims_plan
from brittle.studies.store import Store
from brittle.studies.study import Study
from brittle.studies.trial import Trial
from tests.studies.claims.made import answers, world

RANKS = (32, 16, 8, 4, 2)


def study(**more: Any) -> Study:
    sources = [{"kind": "dense"}, *({"kind": "rank", "rank": rank} for rank in RANKS)]
    return study_from(
        {
            "name": "mine",
            "question": "Does low rank hurt?",
            "grid": {"source": sources, "seed": [0, 1, 2, 3, 4]},
            "criterion": {"predictor": "structure.spectral", "outcome": "robust.linf@0.05"},
            "controls": [{"name": "scale", "grid": {"hold_scale": [True], "source": sources, "seed": [0, 1, 2, 3, 4]}}],
            **more,
        }
    )


def made_rows(trials: tuple[Trial, ...], effect: float = 0.3) -> dict[str, TrialRow]:
    rows = {}
    for trial in trials:
        key = trial_key(trial)
        step = 0 if trial.source.kind == "dense" else 1 + RANKS.index(trial.source.rank)  # type: ignore[union-attr]
        noise = np.random.default_rng([trial.seed, step]).normal(0, 0.003, 2)
        fall = 0 if trial.hold_scale else effect * step / 5
        measures = {"structure.spectral": 0.3 + 0.1 * step + noise[0], "robust.linf@0.05": 0.7 - fall + noise[1]}
        rows[key] = TrialRow(key, trial.model_dump(mode="json"), measures, 2.0)
    return rows


def only(plan: ClaimsPlan, *names: str) -> ClaimsPlan:
    chosen = [i for i, claim in enumerate(plan.claims) if claim.id in names]
    return replace(plan, claims=tuple(plan.claims[i] for i in chosen), cells=tuple(plan.cells[i] for i in chosen))


def test_a_study_is_one_claim_with_its_controls_beside_it() -> None:
    mine = study()
    rows = made_rows(expand(mine))
    result = answer_study(mine, rows, command="brittle study run mine.yaml")
    (claim,) = result.claims
    assert claim.outcome == "supported"
    assert "points of robust accuracy at linf 0.05 are lost" in claim.words
    main, control = claim.cells
    assert (main.counts, main.scale, control.counts, control.scale) == (True, "free", False, "held")
    assert control.outcome == "not supported"
    assert main.data.levels == ("dense", *(f"rank {rank}" for rank in RANKS))
    assert main.data.trials[0][0] == (trial_key(Trial(seed=0)),)
    assert main.data.outcomes["robust.linf@0.05"][0][0] == pytest.approx(
        100 * rows[trial_key(Trial(seed=0))].measures["robust.linf@0.05"]
    )
    assert (result.missing, result.failed, len(result.trials), result.seconds) == (0, 0, 60, 120.0)
    assert (result.name, result.preset, result.command) == ("mine", "", "brittle study run mine.yaml")
    assert from_dict(StudyResult, to_dict(result)) == result
    assert answer_study(mine, rows, command="brittle study run mine.yaml") == result


def test_missing_and_failed_trials_are_counted_and_their_seeds_left_out() -> None:
    mine = study(controls=[])
    trials = expand(mine)
    rows = made_rows(trials)
    gone, broken = trial_key(trials[0]), trial_key(trials[1])
    del rows[gone], rows[broken]
    result = answer_study(mine, rows, failed={broken, "of another study"})
    assert (result.missing, result.failed, len(result.trials)) == (1, 1, 28)
    (claim,) = result.claims
    assert claim.outcome == "inconclusive"
    assert "3 complete seeds" in claim.words
    data = claim.cells[0].data
    assert data.seeds == (0, 1, 2, 3, 4)
    assert data.outcomes["robust.linf@0.05"][0][0] is None
    assert data.trials[0][0] == ()
    assert data.outcomes["robust.linf@0.05"][0][1] is not None


def test_a_study_without_a_criterion_has_no_claims() -> None:
    mine = study(criterion=None)
    result = answer_study(mine, made_rows(expand(mine)))
    assert result.claims == ()
    assert len(result.trials) == 60


def test_an_outcome_that_is_no_accuracy_keeps_its_unit() -> None:
    wanted = {"predictor": "structure.spectral", "outcome": "log_gap.l2@1", "direction": "rises", "smallest": 0.5}
    mine = study(criterion=wanted, controls=[])
    rows = {
        key: replace(row, measures={**row.measures, "log_gap.l2@1": -10 * row.measures["robust.linf@0.05"]})
        for key, row in made_rows(expand(mine)).items()
    }
    (claim,) = answer_study(mine, rows).claims
    assert claim.outcome == "supported"
    assert claim.cells[0].trends[0].effect.value == pytest.approx(3.0, abs=0.1)


def test_differences_name_both_networks() -> None:
    plan = only(claims_plan("quick"), "C11")
    rows = answers(plan, world(0.1))
    cell = answer_claims(plan, rows).claims[0].cells[0]
    place = plan.cells[0][0].levels[0]
    assert place.minus is not None
    keys = tuple(trial_key(trial.model_copy(update={"seed": 0})) for trial in (place.trial, place.minus))
    assert cell.data.trials[0][0] == keys
    measure = plan.cells[0][0].outcomes[0].measure
    expected = 100 * (rows[keys[0]].measures[measure] - rows[keys[1]].measures[measure])
    assert cell.data.outcomes["robust"][0][0] == pytest.approx(expected)


def test_a_partial_run_answers_what_is_complete() -> None:
    plan = only(claims_plan("quick"), "C2", "C8")
    rows = answers(plan, world(0.2))
    first = {trial_key(trial) for trial in plan.trials if trial.data == "digits"}
    result = answer_claims(plan, {key: row for key, row in rows.items() if key in first})
    outcomes = {claim.claim: claim.outcome for claim in result.claims}
    assert outcomes["C2"] == "supported"
    assert outcomes["C8"] == "inconclusive"
    assert result.missing == len(plan.trials) - len(first)
    nothing = answer_claims(plan, {})
    assert {claim.outcome for claim in nothing.claims} == {"inconclusive"}
    assert nothing.missing == len(plan.trials)


def test_rows_of_a_store_have_the_keys_of_now(tmp_path) -> None:
    trials = (Trial(seed=0), Trial(seed=1), Trial(seed=2))
    asked = {trial_key(trial): trial for trial in trials}
    old = trial_key(trials[2], "older")
    with Store(tmp_path / "s.sqlite") as store:
        holder = new_holder(0.0).owner
        store.finish([Finished(trial_key(trials[1]), {"clean": 0.5}, {}, 1.0)], asked, holder)
        store.finish([Finished(old, {"clean": 0.25}, {}, 1.0)], {old: trials[2]}, holder)
        now = rows_of(store, trials)
        both = rows_of(store, trials, ("older",))
    assert list(now) == [trial_key(trials[1])]
    assert list(both) == [trial_key(trials[1]), trial_key(trials[2])]
    assert both[trial_key(trials[2])].key == old
