"""Learnt scores: they find the units that matter, whatever they start from, and leave the net alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.data.split import Split
from brittle.errors import ModelError, UsageError
from brittle.threats import LinfBall
from brittle.training.adversarial import PGDTraining
from brittle.training.engine_run import LostRunError
from brittle.training.objective import CrossEntropy
from brittle.training.recovery.unit_scores import learn_unit_scores, open_best
from tests.training.recovery.nets import channels, parent, weights
from tests.training.toys import Counting, digits, same


def sorted_pixels() -> tuple[nn.Module, Split]:
    """Pixel 0 says the class. Units 0 and 1 read it, 2 ... 5 read noise, with larger weights."""
    torch.manual_seed(0)
    x = torch.rand(256, 6)
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.zero_()
        net[0].weight[0, 0], net[0].bias[0] = 4.0, -2.0
        net[0].weight[1, 0], net[0].bias[1] = -4.0, 2.0
        for j in range(2, 6):
            net[0].weight[j, j] = 1.0
        net[2].weight.copy_(torch.tensor([[-2.0, 2.0, 3.0, -3.0, 3.0, -3.0], [2.0, -2.0, -3.0, 3.0, -3.0, 3.0]]))
        net[2].bias.zero_()
    return net, Split(x, (x[:, 0] > 0.5).long())


@pytest.mark.parametrize("objective", [CrossEntropy(), PGDTraining(LinfBall(0.05), steps=2, share=1.0)])
def test_units_that_carry_the_class_are_found(objective: CrossEntropy | PGDTraining) -> None:
    net, data = sorted_pixels()
    net.train()
    before = weights(net)
    coupling = channels("0", 6, "2")
    scores = learn_unit_scores(net, [coupling], {"0": 2}, data, objective, 60, seed=0, batch_size=32)["0"]
    assert set(scores.topk(2).indices.tolist()) == {0, 1}
    assert (scores.dtype, tuple(scores.shape)) == (torch.float64, (6,))
    assert float(scores.min()) >= 0
    assert same(before, weights(net))
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_the_start_is_what_reads_a_unit_or_what_is_given() -> None:
    net, data = sorted_pixels()
    coupling = channels("0", 6, "2")

    def one_step(**more: dict[str, Tensor]) -> Tensor:
        return learn_unit_scores(
            net, [coupling], {"0": 2}, data, CrossEntropy(), 0.125, seed=0, batch_size=32, learning_rate=1e-9, **more
        )["0"]

    norms = net[2].weight.detach().double().norm(dim=0)
    torch.testing.assert_close(one_step(), norms / norms.max(), rtol=0, atol=1e-6)
    given = torch.arange(6.0)
    torch.testing.assert_close(one_step(start={"0": given}), (given / 5).double(), rtol=0, atol=1e-6)


def test_couplings_that_are_not_named_have_all_their_units() -> None:
    net = parent()
    both = [channels("fc1", 32, "head"), Coupling("all", "neurons", 2, (Member("head", "in", ((0,), (1,))),))]
    scores = learn_unit_scores(net, both, {"fc1": 8}, digits(64)[0], CrossEntropy(), 1, seed=0)
    norms = net.head.weight.detach().double().norm(dim=0)[:2]
    torch.testing.assert_close(scores["all"], norms / norms.max(), rtol=1e-5, atol=1e-6)


def test_the_budget_and_the_seed_are_kept_to() -> None:
    calls: list[int] = []
    told: list[tuple[str, int, int]] = []
    data = digits(129)[0]

    def go(seed: int, objective: Counting) -> Tensor:
        return learn_unit_scores(
            parent(),
            [channels("fc1", 32, "head")],
            {"fc1": 8},
            data,
            objective,
            7,
            seed=seed,
            batch_size=32,
            progress=lambda stage, done, total: told.append((stage, done, total)),
        )["fc1"]

    first = go(0, Counting(calls.append))
    assert len(calls) == 9, "301 samples can be paid: two passes of 128, as the last one is alone, and a batch of 32"
    assert told[0] == ("unit scores", 1, len(calls))
    assert torch.equal(first, go(0, Counting()))
    assert not torch.equal(first, go(1, Counting()))


def test_gates_are_the_highest_and_hand_their_gradient_on() -> None:
    scores = torch.tensor([0.3, -0.5, 0.9, 0.3], requires_grad=True)
    gates = open_best(scores, 2)
    assert gates.tolist() == [1.0, 0.0, 1.0, 0.0]
    slope = torch.tensor([1.0, 2.0, 3.0, 4.0])
    (gradient,) = torch.autograd.grad((gates * slope).sum(), scores)
    assert torch.equal(gradient, slope)


def test_what_cannot_be_scored_is_refused() -> None:
    net, coupling, data = parent(), channels("fc1", 32, "head"), digits(64)[0]

    def go(keep: dict[str, int], couplings: list[Coupling], budget: float = 1.0, **more: object) -> None:
        learn_unit_scores(net, couplings, keep, data, CrossEntropy(), budget, seed=0, **more)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="no coupling is to be scored: give the number of units that stay"):
        go({}, [coupling])
    with pytest.raises(UsageError, match="no coupling 'fc9': expected some of fc1"):
        go({"fc9": 1}, [coupling])
    for k in (0, 33):
        with pytest.raises(UsageError, match=f"coupling 'fc1' has 32 units, so 1 to that many can stay, got {k}"):
            go({"fc1": k}, [coupling])
    with pytest.raises(ModelError, match="nothing reads coupling 'fc1', so its units cannot be scored"):
        go({"fc1": 1}, [Coupling("fc1", "neurons", 32, (coupling.members[0],))])
    with pytest.raises(UsageError, match=r"expected 32 scores for coupling 'fc1', got shape \(3,\)"):
        go({"fc1": 1}, [coupling], start={"fc1": torch.ones(3)})
    with pytest.raises(UsageError, match="does not pay for one batch"):
        go({"fc1": 1}, [coupling], budget=0.001)
    broken = copy.deepcopy(net)
    with torch.no_grad():
        broken.head.bias[0] = torch.nan
    with pytest.raises(LostRunError, match="the loss is nan at step 1: the model cannot be scored with it"):
        learn_unit_scores(broken, [coupling], {"fc1": 4}, data, CrossEntropy(), 1, seed=0)
