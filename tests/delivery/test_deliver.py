"""A compression from beginning to end on digits: sizes, samples, the parent untouched, recovery, sweep, time limit."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from brittle.auditing.run import Subject
from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.delivery import making, sweep
from brittle.delivery.clock import Clock, TimeIsUpError
from brittle.delivery.job import Job
from brittle.delivery.options import CompressOptions
from brittle.delivery.run import Compression, deliver
from brittle.errors import UsageError
from brittle.evaluation.intervals import paired_drop_interval
from tests.small_nets import trained

# Any share can be met exactly by single weights, so small nets do.
SMALL = CompressOptions(0.25, method="magnitude", epsilon=(0.03, 0.06), finetune=2.0, samples=80, evidence=60, seed=1)


def delivered(options: CompressOptions, **more: Any) -> Compression:
    found = deliver(Subject(trained(), "parent"), load_data("digits"), options, child="child", **more)
    assert found is not None
    return found


@cache
def once() -> Compression:
    return delivered(SMALL)


def right(model: nn.Module, split: Split) -> torch.Tensor:
    with torch.no_grad():
        return model(split.x).argmax(1) == split.y


def test_the_record_describes_the_network_that_came_out() -> None:
    found, result = once(), once().result
    assert result.child_size.nonzero == sum(int(p.count_nonzero()) for p in found.model.parameters())
    assert 0.97 * 0.25 <= result.child_size.nonzero / result.parent_size.nonzero <= 0.25
    test = load_data("digits").split("test").take(80, 1)
    assert result.data.sha256 == test.sha256()
    assert result.after is not None
    assert result.after.clean == float(right(found.model, test).double().mean())
    assert result.parent_scores is not None
    assert result.parent_scores.clean == float(right(trained(), test).double().mean())
    assert [layer.name for layer in result.layers] == ["fc1", "fc2", "head"]
    assert (result.parent.name, result.child.name, result.partial) == ("parent", "child", False)


def test_drops_are_paired_over_the_same_samples() -> None:
    result = once().result
    test = load_data("digits").split("test").take(80, 1)
    before, after = right(trained(), test).numpy(), right(once().model, test).numpy()
    clean = result.drops[0]
    assert clean.points == pytest.approx(100 * (before.mean() - after.mean()))
    assert clean.interval95 == paired_drop_interval(before, after, 1)
    assert result.parent_scores is not None
    assert result.after is not None
    for drop, base, child in zip(result.drops[1:], result.parent_scores.robust, result.after.robust, strict=True):
        assert drop.points == pytest.approx(100 * (base.attacked - child.attacked))


def test_choices_and_recovery_see_training_samples_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    real_choice, real_recovery = making.compress_to, making.recover

    def choosing(model: nn.Module, method: str, keep: float, evidence: Any, **more: Any) -> Any:
        seen.append(evidence.x)
        return real_choice(model, method, keep, evidence, **more)

    def recovering(
        child: nn.Module, parent: nn.Module, train: Split, validation: Split, *rest: Any, **more: Any
    ) -> Any:
        seen.extend((train.x, validation.x))
        return real_recovery(child, parent, train, validation, *rest, **more)

    monkeypatch.setattr(making, "compress_to", choosing)
    monkeypatch.setattr(making, "recover", recovering)
    delivered(SMALL)
    scored = {row.numpy().tobytes() for row in load_data("digits").split("test").x}
    learned = {row.numpy().tobytes() for x in seen for row in x}
    assert len(seen) == 3
    assert len(seen[0]) == 60
    # digits holds a few scans twice; none of the samples comes from the test split itself
    both = {row.numpy().tobytes() for name in ("train", "validation") for row in load_data("digits").split(name).x}
    assert learned <= both
    assert len(learned & scored) <= len(both & scored)


def test_the_parent_stays_as_it_was() -> None:
    net = trained().train()
    net.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    deliver(Subject(net, "parent"), load_data("digits"), SMALL, child="child")
    assert net.training
    assert not any(p.requires_grad for p in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_recovery_is_recorded_and_helps_here() -> None:
    result = once().result
    assert result.recovery is not None
    assert (result.recovery.kind, result.recovery.asked, result.recovery.norm) == ("plain", 2.0, None)
    assert 0 < result.recovery.spent <= 2.0
    assert result.before_recovery is not None
    assert result.after is not None
    assert result.after.clean > result.before_recovery.clean


def test_zeros_stay_zero_through_the_recovery() -> None:
    start = delivered(replace(SMALL, finetune=0.0))
    for (name, before), (_, after) in zip(start.model.named_parameters(), once().model.named_parameters(), strict=True):
        if before.dim() == 2:
            assert bool((after[before == 0] == 0).all()), name
            assert bool((before == 0).any()), name


def test_without_a_budget_there_is_no_recovery() -> None:
    result = delivered(replace(SMALL, finetune=0.0)).result
    assert result.recovery is None
    assert result.before_recovery is None
    assert result.asked.recover is None
    assert result.after == once().result.before_recovery


def test_rounded_weights_are_rounded_again_after_the_recovery() -> None:
    found = delivered(replace(SMALL, method="int8", finetune=6.0))
    assert found.result.recovery is not None
    assert found.result.recovery.best_epoch > 0  # the weights moved
    for weight in (p for p in found.model.parameters() if p.dim() == 2):
        steps = weight.detach() / (weight.detach().abs().amax(1, keepdim=True) / 127)
        assert float((steps - steps.round()).abs().max()) < 1e-3
    assert (found.result.parent_size.bits, found.result.child_size.bits) == (32, 8)
    assert any("8 bits in simulation" in note for note in found.result.notes)


def test_robust_choices_are_recovered_against_the_first_radius() -> None:
    result = delivered(replace(SMALL, method="auto", robust=True, epsilon=(0.06, 0.03), finetune=6.0)).result
    assert result.recovery is not None
    assert (result.recovery.kind, result.recovery.norm, result.recovery.epsilon) == ("adversarial", "linf", 0.06)
    assert result.prediction is not None
    assert result.prediction.predicted_robust is not None
    assert 0.97 * 0.25 <= result.child_size.parameters / result.parent_size.parameters <= 0.25


def test_flattening_and_bounded_factors_reach_low_rank_layers_only() -> None:
    from brittle.compression.conditioned import condition_numbers

    low = delivered(
        replace(SMALL, keep=0.55, method="svd-energy", orthonormal=1.0, penalties={"l1": 1e-4}, finetune=4.0)
    )
    numbers = condition_numbers(low.model)
    assert numbers
    assert max(numbers.values()) <= 1.0 + 1e-4
    assert low.result.recovery is not None
    assert low.result.recovery.best_epoch > 0
    assert low.result.recovery.penalties == {"l1": 1e-4}
    plain = delivered(replace(SMALL, keep=0.55, method="svd-energy", finetune=0.0))
    flat = delivered(replace(SMALL, keep=0.55, method="svd-energy", flatten=1.0, finetune=0.0))
    assert max(condition_numbers(flat.model).values()) < max(condition_numbers(plain.model).values())
    note = "made no low-rank layers: flatten and orthonormal had nothing to act on"
    assert any(note in one for one in delivered(replace(SMALL, flatten=0.5)).result.notes)


def test_a_sweep_scores_other_sizes_and_rivals_alike() -> None:
    found = delivered(replace(SMALL, sweep=(0.5, 0.25), finetune=1.0))
    assert set(found.siblings) == {0.5}
    names = [point.name for point in found.result.front]
    assert names[:3] == ["parent", "magnitude at 0.5", "magnitude at 0.25"]
    assert {"l2-global at 0.5", "svd at 0.5", "l2-global at 0.25"} <= set(names)
    assert all(len(point.scores.robust) == 2 for point in found.result.front)
    assert all(point.scores.n == 80 for point in found.result.front)
    sizes = {point.name: point.parameters for point in found.result.front}
    assert sizes["l2-global at 0.25"] < 0.26 * sizes["parent"]
    half = sum(int(p.count_nonzero()) for p in found.siblings[0.5].parameters())
    assert half > found.result.child_size.nonzero


def test_a_rival_that_cannot_reach_a_size_is_a_note() -> None:
    found = delivered(replace(SMALL, sweep=(0.1,), finetune=0.0))
    assert any(note.startswith("svd at 0.1 is not on the picture: ") for note in found.result.notes)
    assert not found.result.partial


def test_a_size_that_the_method_cannot_reach_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "recover", pytest.fail)
    for options in (replace(SMALL, method="svd", keep=0.01), replace(SMALL, method="svd", keep=0.4, sweep=(0.01,))):
        with pytest.raises(UsageError):
            delivered(options)


def test_no_time_at_all_makes_nothing() -> None:
    options = replace(SMALL, time_limit=1e-6)
    assert deliver(Subject(trained(), "parent"), load_data("digits"), options, child="child") is None


def stopped_in(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    real = getattr(Job, stage)

    def stopping(self: Job, *arguments: Any) -> Any:
        if stage == "recovered" or arguments[1] != 0.25:
            raise TimeIsUpError
        return real(self, *arguments)

    monkeypatch.setattr(Job, stage, stopping)


def test_a_recovery_that_the_limit_stops_leaves_the_network_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_in(monkeypatch, "recovered")
    result = delivered(SMALL).result
    assert result.partial
    assert result.recovery is None
    assert any("the recovery was stopped at the time limit" in note for note in result.notes)
    assert result.after == once().result.before_recovery


def test_sizes_of_a_sweep_that_the_limit_leaves_out_are_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_in(monkeypatch, "compressed")
    found = delivered(replace(SMALL, finetune=0.0, sweep=(0.5,)))
    assert found.result.partial
    assert found.siblings == {}
    assert "magnitude at 0.5 was left out at the time limit" in found.result.notes


def test_attacks_that_the_limit_stops_are_missing_and_nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(limit: float | None) -> Clock:
        return Clock(None, 0.0)  # making may go on, measuring may not

    monkeypatch.setattr(Clock, "start", staticmethod(late))
    result = delivered(replace(SMALL, max_drop=1.0, sweep=(0.5,))).result
    assert result.partial
    assert result.after is not None
    assert result.after.robust == ()
    assert (result.drops, result.gate, result.verdict) == ((), None, None)
    assert any("scores under attack are missing" in note for note in result.notes)
    assert any("was not scored to the end" in note for note in result.notes)


def test_the_gate_judges_the_drops() -> None:
    assert once().result.gate is None
    loose = delivered(replace(SMALL, max_drop=99.0)).result
    assert loose.gate is not None
    assert loose.gate.held
    tight = delivered(replace(SMALL, keep=0.03, finetune=0.0, max_drop=1.0)).result
    assert tight.gate is not None
    assert not tight.gate.held
    assert tight.gate.why[0].startswith("clean: drop")


def test_stages_are_reused_and_give_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(SMALL, sweep=(0.5,), finetune=1.0)
    first = delivered(options, folder=tmp_path)
    monkeypatch.setattr(making, "recover", pytest.fail)
    again = delivered(options, folder=tmp_path)
    for one, other in ((first.model, again.model), (first.siblings[0.5], again.siblings[0.5])):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    same = replace(
        again.result,
        settings=first.result.settings,
        parent_size=first.result.parent_size,
        child_size=first.result.child_size,
    )
    assert same == first.result
    monkeypatch.undo()
    made: list[int] = []
    monkeypatch.setattr(making, "recover", lambda *rest, **more: made.append(1) or pytest.skip("made anew"))
    with pytest.raises(pytest.skip.Exception):
        delivered(replace(options, seed=2), folder=tmp_path)
    assert made == [1]


def test_rivals_are_given_a_little_less_where_units_are_coarse() -> None:
    assert 0.6 < sweep._STEP ** (sweep._STEPS - 1) < 0.7
