"""Names of numbers are those that the measures give; a tiny real trial is the reference."""

from __future__ import annotations

import pytest

from brittle.studies.claims.quantities import measure_of, points_of, spoken
from brittle.studies.measures.table import MEASURES
from brittle.studies.presets import claims_plan
from brittle.studies.run_trial import run_trial
from brittle.studies.trial import Training, Trial


def test_every_quantity_of_every_claim_is_measured() -> None:
    plan = claims_plan("quick")
    threats = {threat for trial in plan.trials if trial.data == "digits" for threat in trial.threats}
    small = Trial(
        train=150,
        test=60,
        model="zoo:mlp?width=20&depth=2",
        training=Training(epochs=2),
        transfer="classes:5-9:digits",
        threats=tuple(threats),
        measures=tuple(name for name in MEASURES if name != "known"),
    )
    measured = run_trial(small).measures
    wanted = {
        one.measure
        for cells in plan.cells
        for cell in cells
        for one in (cell.predictor, *cell.outcomes)
        if cell.levels[0].trial.data == "digits"
    }
    assert wanted <= measured.keys()
    for name in measured:
        assert measure_of(name) in MEASURES, name
        if points_of(name) == 100:
            assert -1 <= measured[name] <= 1, name


@pytest.mark.parametrize(("name", "points"), [("robust.linf@0.1", 100), ("log_gap.l2@1", 1), ("unknown", 1)])
def test_fractions_become_points(name: str, points: float) -> None:
    assert points_of(name) == points


def test_unknown_numbers_have_no_measure() -> None:
    assert measure_of("luck.linf@0.1") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("clean", "clean accuracy"),
        ("robust.linf@0.05", "robust accuracy at linf 0.05"),
        ("transfer.ratio.l2@0.5", "the ratio robust / clean at l2 0.5 on the target task"),
        ("structure.neuron", "neuron compressibility"),
        ("bound.l2.log_lhat", "bound.l2.log_lhat"),
        ("luck.linf@0.1", "luck.linf@0.1"),
    ],
)
def test_names_in_words(name: str, words: str) -> None:
    assert spoken(name) == words
