from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

import pytest
import torch
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.attacks.cascade import Cascade
from brittle.attacks.losses import cross_entropy
from brittle.attacks.pgd import PGD
from brittle.attacks.table import EFFORTS
from brittle.attacks.targeted import TargetedAPGD
from brittle.errors import DataError, ModelError, UsageError
from brittle.evaluation import pace
from brittle.evaluation.accuracy import attack_survivors, clean_right, noise_right
from brittle.evaluation.adversarial_loss import worst_losses
from brittle.results.robustness import AttackStep
from brittle.threats import ball

N = 90


class Net(nn.Module):
    """A small network in train mode with dropout, which remembers the largest batch it saw."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 5)).to(dtype)
        self.largest = 0

    def forward(self, x):
        self.largest = max(self.largest, len(x))
        return 4 * self.net(x)


@pytest.fixture
def case():
    """Network, samples, and labels that the network gets right on about four in five."""
    model = Net()
    x = torch.rand(N, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = model.eval()(x).argmax(1)
    y[::5] = (y[::5] + 1) % 5
    return model.train(), x, y


@dataclass(frozen=True)
class Moves:
    """An attack that adds `shift` to the samples in `targets` and records whom it was given."""

    name: str
    shift: float
    targets: frozenset[int]
    calls: list[list[int]]
    cost: int = 0

    def __call__(self, model, x, y, threat, *, indices, seed):
        self.calls.append(indices.tolist())
        hit = torch.tensor([i in self.targets for i in indices.tolist()])
        return torch.where(hit[:, None], x + self.shift, x)


class Threshold(nn.Module):
    """Class 1 above a mean of one half; right means label 0."""

    def forward(self, x):
        mean = x.mean(1)
        return torch.stack([0.5 - mean, mean - 0.5], 1)


def test_clean_right_compares_predictions_with_labels(case):
    model, x, y = case
    right, logits = clean_right(model, x, y, batch_size=32)
    assert torch.equal(right, torch.arange(N) % 5 != 0)
    assert torch.allclose(logits, model.eval()(x))


def test_only_survivors_meet_the_next_attack_and_steps_count_them():
    x = torch.full((6, 2), 0.4)
    y = torch.tensor([0, 0, 0, 0, 0, 1])  # the last one is wrong already
    first, second = Moves("first", 0.2, frozenset({1, 3}), []), Moves("second", 0.2, frozenset({1, 4, 5}), [])
    result = attack_survivors(Threshold(), x, y, ball("linf", 0.3), [first, second], batch_size=4, seed=0)
    assert first.calls == [[0, 1, 2, 3], [4]]
    assert second.calls == [[0, 2, 4]]
    assert result.steps == (AttackStep("first", 3 / 6), AttackStep("second", 2 / 6))
    assert result.survived.tolist() == [True, False, True, False, False, False]
    assert result.right.tolist() == [True] * 5 + [False]
    assert result.accuracy == pytest.approx(2 / 6)
    assert result.complete
    assert result.x_adv[:, 0].tolist() == pytest.approx([0.4, 0.6, 0.4, 0.6, 0.6, 0.4])


def test_adversarial_examples_and_losses_are_what_the_model_says(case):
    model, x, y = case
    result = attack_survivors(model, x, y, ball("linf", 0.05), EFFORTS["standard"], batch_size=32, seed=0)
    model.eval()
    fooled = model(result.x_adv).argmax(1) != y
    assert torch.equal(~fooled & result.right, result.survived)
    assert 0.1 < result.accuracy < 0.7
    assert torch.equal(result.x_adv[~result.right], x[~result.right])
    seen = torch.maximum(cross_entropy(model(x), y), cross_entropy(model(result.x_adv), y))
    assert (result.loss >= seen - 1e-9).all()  # a try before the first success may have had a larger loss
    assert torch.allclose(result.loss[result.survived], seen[result.survived])
    assert not torch.equal(result.x_adv[result.survived], x[result.survived])  # the strongest try is kept


def test_the_strongest_try_is_kept_for_survivors():
    x, y = torch.full((1, 2), 0.2), torch.tensor([0])
    attacks = [Moves(str(shift), shift, frozenset({0}), []) for shift in (0.1, 0.25, -0.1)]
    result = attack_survivors(Threshold(), x, y, ball("linf", 0.3), attacks, batch_size=4, seed=0)
    assert result.x_adv[0, 0].item() == pytest.approx(0.45)
    assert result.survived.all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_results_do_not_depend_on_the_batch_size(case, norm):
    model, x, y = case
    threat = ball(norm, 0.06)
    attacks, runs = [PGD(5), APGD(10), APGD(10, "dlr"), TargetedAPGD(5, 2), Cascade(5, 4)], []
    for batch_size in (7, 64, 1000):
        model.largest = 0
        result = attack_survivors(model, x, y, threat, attacks, batch_size=batch_size, seed=0)
        noise = noise_right(model, x, y, threat, batch_size=batch_size, seed=0)
        worst = worst_losses(model, x, y, threat, batch_size=batch_size, seed=0, steps=10)
        assert model.largest <= batch_size
        runs.append((result, noise, worst))
    for result, noise, worst in runs[1:]:
        assert torch.equal(result.survived, runs[0][0].survived)
        assert result.steps == runs[0][0].steps
        assert torch.allclose(result.x_adv, runs[0][0].x_adv, atol=1e-6)
        assert torch.allclose(result.loss, runs[0][0].loss, atol=1e-6)
        assert torch.equal(noise, runs[0][1])
        assert torch.allclose(worst, runs[0][2], atol=1e-6)


def test_a_part_of_the_data_gets_the_numbers_it_has_in_the_whole(case):
    model, x, y = case
    threat, part = ball("l2", 0.1), torch.tensor([70, 3, 41, 8])
    whole = attack_survivors(model, x, y, threat, [PGD(3)], batch_size=16, seed=5)
    alone = attack_survivors(model, x[part], y[part], threat, [PGD(3)], batch_size=16, seed=5, indices=part)
    assert torch.allclose(alone.x_adv, whole.x_adv[part], atol=1e-9)
    noise = noise_right(model, x, y, threat, batch_size=16, seed=5, draws=3)
    assert torch.equal(
        noise[:, part], noise_right(model, x[part], y[part], threat, batch_size=2, seed=5, draws=3, indices=part)
    )


def test_the_model_comes_back_as_it_was(case):
    model, x, y = case
    model.net[2].eval()
    for call in (
        lambda: attack_survivors(model, x, y, ball("linf", 0.05), [APGD(3)], batch_size=32, seed=0),
        lambda: noise_right(model, x, y, ball("linf", 0.05), batch_size=32, seed=0),
        lambda: clean_right(model, x, y, 32),
        lambda: worst_losses(model, x, y, ball("linf", 0.05), batch_size=32, seed=0, steps=2),
    ):
        call()
        assert model.training
        assert not model.net[2].training
        assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_progress_tells_the_stage_and_the_samples(case):
    model, x, y = case
    told = []
    attack_survivors(
        model, x, y, ball("linf", 1e-3), [PGD(1), APGD(1)], batch_size=30, seed=0, progress=lambda *a: told.append(a)
    )
    assert told[:3] == [("pgd-margin-1", 30, 72), ("pgd-margin-1", 60, 72), ("pgd-margin-1", 72, 72)]
    assert told[3][0] == "apgd-ce-1"
    told.clear()
    worst_losses(model, x, y, ball("linf", 0.05), batch_size=60, seed=0, steps=1, progress=lambda *a: told.append(a))
    assert told == [("worst-ce-1", 60, 90), ("worst-ce-1", 90, 90)]


def test_a_passed_deadline_stops_and_says_so(case):
    model, x, y = case
    result = attack_survivors(
        model, x, y, ball("linf", 0.1), EFFORTS["quick"], batch_size=8, seed=0, deadline=monotonic()
    )
    assert not result.complete
    assert [step.attack for step in result.steps] == ["pgd-margin-10 (stopped)"]
    assert torch.equal(result.survived, result.right)


def test_a_deadline_in_between_keeps_what_was_found():
    x, y = torch.full((4, 2), 0.4), torch.zeros(4, dtype=torch.int64)
    attack = Moves("a", 0.2, frozenset(range(4)), [])

    def until_first(stage, done, total):
        ends[0] = 0.0

    ends = [float("inf")]

    class Clock(float):
        """A deadline that has passed once the first batch is done."""

        def __le__(self, now):
            return ends[0] == 0.0

    result = attack_survivors(
        Threshold(),
        x,
        y,
        ball("linf", 0.3),
        [attack],
        batch_size=2,
        seed=0,
        progress=until_first,
        deadline=Clock(1e300),
    )
    assert result.survived.tolist() == [False, False, True, True]
    assert result.steps == (AttackStep("a (stopped)", 0.5),)


def test_each_attack_meets_the_samples_nearest_to_an_error_first():
    x, y = torch.tensor([0.1, 0.4, 0.2, 0.3, 0.2])[:, None].expand(5, 2).contiguous(), torch.zeros(5, dtype=torch.int64)
    first, second = Moves("first", 0.25, frozenset({0}), []), Moves("second", 0.0, frozenset(), [])
    attack_survivors(Threshold(), x, y, ball("linf", 0.3), [first, second], batch_size=2, seed=0)
    assert first.calls == [[1, 3], [2, 4], [0]]
    assert second.calls == [[1, 0], [3, 2], [4]]  # the first attack brought sample 0 to 0.35


def test_batches_shrink_to_what_fits_before_the_deadline(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr(pace, "monotonic", lambda: now[0])

    class Slow(Moves):
        """Two seconds for each sample."""

        def __call__(self, model, x, y, threat, *, indices, seed):
            now[0] += 2.0 * len(x)
            return super().__call__(model, x, y, threat, indices=indices, seed=seed)

    x, y = torch.full((10, 2), 0.4), torch.zeros(10, dtype=torch.int64)
    quick, slow = Slow("quick", 0.0, frozenset(), [], cost=1), Slow("slow", 0.0, frozenset(), [], cost=1)
    result = attack_survivors(
        Threshold(),
        x,
        y,
        ball("linf", 0.3),
        [quick, slow],
        batch_size=4,
        seed=0,
        deadline=33.0,
        progress=lambda *what: told.append(what),
    )
    assert [len(call) for call in quick.calls] == [4, 4, 2]
    assert [len(call) for call in slow.calls] == [4, 2, 1]  # 13 seconds are left, then 5, then 1
    assert ("slow: forecast up to 20 s, over the limit", 0, 0) in told
    assert [step.attack for step in result.steps] == ["quick", "slow (stopped)"]
    assert not result.complete


@pytest.mark.parametrize(("norm", "length"), [("linf", 0.04), ("l2", 0.1)])
def test_noise_has_full_length_and_is_drawn_anew(norm, length):
    seen = []

    class Spy(Threshold):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    x, threat = torch.full((20, 6), 0.5), ball(norm, length)
    right = noise_right(Spy(), x, torch.zeros(20, dtype=torch.int64), threat, batch_size=20, seed=0, draws=2)
    assert right.shape == (2, 20)
    for points, row in zip(seen, right, strict=True):
        assert torch.allclose(threat.length(points - x), torch.tensor(length), rtol=1e-4)
        assert torch.equal(row, points.mean(1) <= 0.5)
    assert not torch.equal(seen[0], seen[1])


def test_worst_losses_bound_clean_and_cascade_losses(case):
    model, x, y = case
    threat = ball("linf", 0.05)
    worst = worst_losses(model, x, y, threat, batch_size=50, seed=0)
    cascade = attack_survivors(model, x, y, threat, EFFORTS["standard"], batch_size=50, seed=0)
    clean = cross_entropy(clean_right(model, x, y, 50)[1], y)
    assert (worst >= clean).all()
    assert worst.mean() > cascade.loss.mean()
    assert worst[~cascade.right].mean() > clean[~cascade.right].mean() + 0.05  # misclassified samples are attacked too


@pytest.mark.parametrize("shift", [0.31, -0.5])
def test_an_attack_that_leaves_the_threat_is_refused(shift):
    x, y = torch.full((2, 2), 0.3), torch.zeros(2, dtype=torch.int64)
    attack = Moves("wild", shift, frozenset({1}), [])
    with pytest.raises(UsageError, match=r"attack wild left the threat: linf length 0.[35]1?.* for epsilon 0.3"):
        attack_survivors(Threshold(), x, y, ball("linf", 0.3), [attack], batch_size=2, seed=0)


def test_an_attack_that_leaves_the_box_is_refused():
    x, y = torch.full((2, 2), 0.1), torch.zeros(2, dtype=torch.int64)
    attack = Moves("dark", -0.2, frozenset({0}), [])
    with pytest.raises(UsageError, match=r"attack dark left the threat.*pixels in \[-0.1"):
        attack_survivors(Threshold(), x, y, ball("linf", 0.3), [attack], batch_size=2, seed=0)


def test_an_attack_of_another_shape_is_refused():
    class Short(Moves):
        def __call__(self, model, x, y, threat, *, indices, seed):
            return x[:1]

    x, y = torch.full((2, 2), 0.1), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(UsageError, match=r"attack short must return shape \(2, 2\), got \(1, 2\)"):
        attack_survivors(
            Threshold(), x, y, ball("linf", 0.3), [Short("short", 0, frozenset(), [])], batch_size=2, seed=0
        )


class Returns(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (lambda x: (x, x), ModelError, "expected a tensor of logits from the model, got tuple"),
        (lambda x: x.sum(1), ModelError, r"expected logits of shape \(3, classes\).*got \(3,\)"),
        (lambda x: x[:, :1], ModelError, r"at least 2 classes, got \(3, 1\)"),
        (lambda x: x[:1], ModelError, r"got \(1, 4\)"),
        (lambda x: x / 0, ModelError, "expected finite logits, got NaN or infinity"),
        (lambda x: x[:, :2], DataError, "expected labels from 0 to 1 for a model of 2 classes, got 0 to 2"),
    ],
)
def test_a_model_that_does_not_give_logits_is_refused(answer, error, message):
    x, y = torch.full((3, 4), 0.5), torch.tensor([0, 1, 2])
    with pytest.raises(error, match=message):
        clean_right(Returns(answer), x, y, 8)


def test_negative_labels_are_refused():
    with pytest.raises(DataError, match="got -1 to 1"):
        clean_right(Threshold(), torch.rand(2, 2), torch.tensor([-1, 1]), 8)


def test_bad_settings_are_refused_before_the_model_runs(case):
    model, x, y = case
    threat = ball("linf", 0.1)
    for call in (
        lambda: clean_right(model, x, y, 0),
        lambda: attack_survivors(model, x, y, threat, [], batch_size=0, seed=0),
        lambda: noise_right(model, x, y, threat, batch_size=0, seed=0),
        lambda: worst_losses(model, x, y, threat, batch_size=0, seed=0),
    ):
        with pytest.raises(UsageError, match="the batch size must be >= 1, got 0"):
            call()
    with pytest.raises(UsageError, match="expected draws >= 1, got 0"):
        noise_right(model, x, y, threat, batch_size=8, seed=0, draws=0)
    with pytest.raises(UsageError, match="too small for float32"):
        attack_survivors(model, x.float(), y, ball("l2", 1e-9), [], batch_size=8, seed=0)
    with pytest.raises(DataError, match=r"pixels in \[0, 1\]"):
        clean_right(model, x * 255, y, 8)
    with pytest.raises(DataError, match="int64 indices"):
        noise_right(model, x, y, threat, batch_size=8, seed=0, indices=torch.arange(3))
    assert model.largest == N  # only the fixture's own call
