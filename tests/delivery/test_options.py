"""What a compression may be asked for, and what it then defends against."""

from __future__ import annotations

import math
from typing import Any

import pytest

from brittle.auditing.run import Subject
from brittle.data.load import load_data
from brittle.delivery.checks import check_names, check_request
from brittle.delivery.making import recovery
from brittle.delivery.options import CompressOptions
from brittle.errors import DataError, ModelError, UsageError
from brittle.models.recipe import Recipe, build
from brittle.threats import LinfBall

GREY, COLOUR = (1, 8, 8), (3, 32, 32)

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "keep 0": ({"keep": 0.0}, "keep is the share .* above 0 and at most 1, got 0.0: 0.25 is a fourth"),
    "keep negative": ({"keep": -0.5}, "got -0.5"),
    "keep above 1": ({"keep": 1.5}, "got 1.5"),
    "keep NaN": ({"keep": math.nan}, "got nan"),
    "sweep 0": ({"sweep": (0.5, 0.0)}, "sweep is the share"),
    "sweep twice": ({"sweep": (0.5, 0.25, 0.5)}, "sweep names a share twice: 0.5, 0.25, 0.5; give each once"),
    "finetune negative": ({"finetune": -1.0}, "finetune is a number of gradient .* got -1.0: 10 is usual, 0 is for"),
    "finetune infinite": ({"finetune": math.inf}, "got inf"),
    "recover without a budget": (
        {"finetune": 0.0, "recover": "plain"},
        "a kind of recovery needs a budget, and finetune 0 is",
    ),
    "penalty without a budget": ({"finetune": 0.0, "penalties": {"l1": 1.0}}, "penalties need a budget"),
    "flatten above 1": ({"flatten": 1.1}, r"flatten is a strength in \[0, 1\], got 1.1"),
    "orthonormal below 1": ({"orthonormal": 0.5}, "orthonormal is the largest condition number .* at least 1, got 0"),
    "no evidence": ({"evidence": 0}, "at least 1 training sample as evidence, got 0"),
    "no samples": ({"samples": 0}, "samples must be at least 1"),
    "unknown effort": ({"effort": "heroic"}, "unknown effort 'heroic'"),
    "l1": ({"norm": "l1"}, "unknown norm 'l1': expected one of linf, l2"),
    "radius 0": ({"epsilon": (0.0,)}, "epsilon must be a positive number"),
    "negative gate": ({"max_drop": -1.0}, "max-drop is in percentage points"),
    "no time": ({"time_limit": 0.0}, "time limit must be a positive number"),
    "negative seed": ({"seed": -1}, "the seed must be at least 0"),
    "unknown device": ({"device": "abacus"}, "device 'abacus' is not available"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD.keys())
def test_values_out_of_range_are_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CompressOptions(**{"keep": 0.25, **given})


NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "method": ({"method": "magic"}, "unknown method 'magic': expected one of l1, "),
    "recovery": ({"recover": "prayer"}, "unknown recovery 'prayer': expected one of plain, adversarial"),
    "penalty": ({"penalties": {"nucular": 1.0}}, "unknown penalty 'nucular'"),
    "strength": ({"penalties": {"l1": -1.0}}, "penalty l1: the strength must be >= 0, got -1.0: start with"),
    "robust score": ({"method": "robust-taylor"}, "scores units under attack: ask for a robust choice, or take"),
}


@pytest.mark.parametrize(("given", "message"), NAMES.values(), ids=NAMES.keys())
def test_names_that_do_not_exist_are_refused_with_those_that_do(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_names(CompressOptions(**{"keep": 0.25, **given}))


def test_the_kind_of_recovery_follows_what_is_asked_for() -> None:
    assert CompressOptions(0.5).recovery == "plain"
    assert CompressOptions(0.5, robust=True).recovery == "adversarial"
    assert CompressOptions(0.5, robust=True, recover="distil").recovery == "distil"
    assert CompressOptions(0.5, robust=True, finetune=0).recovery is None


def test_the_first_radius_is_defended_and_all_are_measured_in_order() -> None:
    options = CompressOptions(0.5, robust=True, epsilon=(0.1, 0.02))
    assert options.defended(GREY) == LinfBall(0.1)
    assert [threat.epsilon for threat in options.threats(GREY)] == [0.02, 0.1]
    asked = options.asked(GREY)
    assert (asked.norm, asked.epsilon, asked.defended) == ("linf", (0.02, 0.1), 0.1)


def test_without_radii_they_are_the_audits() -> None:
    options = CompressOptions(0.5, robust=True)
    assert options.defended(GREY) == LinfBall(0.05)
    assert options.defended(COLOUR) == LinfBall(2 / 255)
    assert options.asked(COLOUR).epsilon == (2 / 255, 8 / 255)


def test_only_robust_choices_and_attacking_recoveries_defend() -> None:
    assert CompressOptions(0.5, epsilon=(0.1,)).defended(GREY) is None
    assert CompressOptions(0.5, epsilon=(0.1,), recover="distil").defended(GREY) is None
    for kind in ("adversarial", "trades"):
        assert CompressOptions(0.5, epsilon=(0.1,), recover=kind).defended(GREY) == LinfBall(0.1)


def test_the_audits_get_the_same_samples_attacks_and_tolerance() -> None:
    audit = CompressOptions(0.5, norm="l2", epsilon=(0.5,), samples=7, effort="standard", max_drop=3.5, seed=4).audit()
    assert (audit.norms, audit.samples, audit.effort, audit.max_drop, audit.seed) == (("l2",), 7, "standard", 3.5, 4)
    assert audit.directions == 0
    assert CompressOptions(0.5).audit().max_drop == 2.0


def test_models_and_data_that_do_not_fit_are_refused() -> None:
    data = load_data("digits")
    options = CompressOptions(0.5, samples=20)
    other = Subject(build(Recipe("mlp", COLOUR, 10, {"widths": [4]}), seed=0), "other")
    with pytest.raises(ModelError, match="does not accept inputs of shape"):
        check_request(other, data, options)
    few = Subject(build(Recipe("mlp", GREY, 5, {"widths": [4]}), seed=0), "few")
    with pytest.raises(DataError, match="labels from 0 to 4"):
        check_request(few, data, options)
    fine = Subject(build(Recipe("mlp", GREY, 10, {"widths": [4]}), seed=0), "fine")
    check_request(fine, data, options)


def test_a_robust_compression_that_recovers_plainly_is_judged_in_the_ball() -> None:
    def judged(**given: Any) -> object:
        options = CompressOptions(keep=0.25, epsilon=(0.07,), **given)
        assert options.recovery is not None
        return recovery(options, options.recovery, GREY, hold_zeros=False, low_rank=False).judged

    assert judged(robust=True, recover="plain") == LinfBall(0.07)
    assert judged(robust=True) is None  # trained against the ball, it is judged by it anyway
    assert judged() is None
