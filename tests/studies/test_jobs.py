from __future__ import annotations

from brittle.studies.jobs import Failed, Finished, Job, Work, perform
from tests.studies import cheap
from tests.studies.cheap import answer, trials


def test_only_what_is_wanted_is_run_and_told() -> None:
    job = Job(trials(3), ("a", "b", "c"), frozenset("bc"))
    found = perform(job, Work(cheap.cheap))
    assert [result.key for result in found] == ["b", "c"]
    assert all(isinstance(result, Finished) and result.together == 1 for result in found)


def test_what_a_trial_raises_is_told_and_the_others_go_on() -> None:
    good, bad = perform(Job(trials(4)[2:], ("a", "b"), frozenset("ab")), Work(cheap.quick))
    assert isinstance(good, Finished)
    assert good.measures == answer(trials(3)[2]).measures
    assert isinstance(bad, Failed)
    assert bad.traceback.rstrip().endswith("ValueError: made to fail")


def test_a_group_shares_its_seconds_and_says_its_size() -> None:
    found = perform(Job(trials(3), ("a", "b", "c"), frozenset("ac")), Work(cheap.cheap, cheap.whole_group))
    assert [result.key for result in found] == ["a", "c"]
    for result, trial in zip(found, (trials(3)[0], trials(3)[2]), strict=True):
        assert isinstance(result, Finished)
        assert (result.together, result.measures) == (3, answer(trial).measures)
    assert found[0].seconds == found[1].seconds  # type: ignore[union-attr]


def test_a_group_function_that_forgets_one_is_not_believed() -> None:
    found = perform(Job(trials(2), ("a", "b"), frozenset("ab")), Work(cheap.cheap, cheap.forgetful_group))
    assert [result.together for result in found if isinstance(result, Finished)] == [1, 1]
