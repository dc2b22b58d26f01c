"""What is held: zeros stay zero under every optimiser, low-rank layers keep their condition."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from brittle.errors import UsageError
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.threats import LinfBall
from brittle.training.engine import train
from brittle.training.held import Conditioned, Zeros
from brittle.training.judge import RobustJudge
from brittle.training.optimisers import OPTIMISERS
from brittle.training.plan import Dynamics, Plan
from brittle.training.protocols import Hold
from tests.training.toys import Counting, digits, mlp


def how(optimiser: str = "adamw", epochs: int = 2) -> Dynamics:
    return Dynamics(epochs, batch_size=40, optimiser=optimiser, learning_rate=0.03, schedule="constant")


def pruned() -> nn.Module:
    model = mlp(12, 2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.masked_fill_(torch.rand(p.shape, generator=generator) < 0.6, 0.0)
    return model


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_zeros_stay_zero_and_the_rest_moves(optimiser: str) -> None:
    if optimiser == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    model = pruned()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model, *digits(160), Plan(how(optimiser), holds=(Zeros(),)), seed=0)
    for name, p in model.named_parameters():
        zero = before[name] == 0
        if p.dim() > 1:
            assert bool(zero.any())
            assert torch.equal(p.detach() == 0, zero), name
        else:
            assert not bool((p.detach()[zero] == 0).any()), "biases are no pruned weights"


def test_without_holding_they_do_not_stay() -> None:
    model = pruned()
    train(model, *digits(160), Plan(how()), seed=0)
    assert float((next(model.parameters()) == 0).double().mean()) < 0.2


def low_rank() -> nn.Module:
    """All three kinds, badly conditioned."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        LowRankConv2d(6, 8, 3, 4, padding=1),
        nn.ReLU(),
        LowRankConv2dIn(8, 6, 3, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        LowRankLinear(96, 12, 5),
        nn.ReLU(),
        nn.Linear(12, 10),
    )
    with torch.no_grad():
        for module in (model[2], model[4], model[7]):
            module.first.weight[0] *= 30
    return model


def condition(module: nn.Module) -> float:
    """From the layer's answers to the unit vectors, or its kernel multiplied out by einsum, in float64."""
    first, second = module.first.weight.detach().double(), module.second.weight.detach().double()
    if isinstance(module, LowRankLinear):
        dense = second @ first
    elif isinstance(module, LowRankConv2d):
        dense = torch.einsum("hr,rcij->hcij", second[:, :, 0, 0], first).flatten(1)
    else:
        dense = torch.einsum("hrij,rc->chij", second, first[:, :, 0, 0]).flatten(1)
    values = torch.linalg.svdvals(dense)[: len(first)]
    return float(values[0] / values[-1])


@dataclass(frozen=True)
class Spy:
    """A hold that only looks, put after the one under test."""

    seen: list[tuple[int | None, list[float]]]
    name: str = "spy"

    def start(self, model: nn.Module) -> Spy:
        object.__setattr__(self, "model", model)
        self(0)
        return self

    def __call__(self, step: int | None) -> None:
        model: nn.Module = self.model  # type: ignore[attr-defined]
        self.seen.append((step, [condition(model[i]) for i in (2, 4, 7)]))


def looked_at(*holds: Hold) -> list[tuple[int | None, list[float]]]:
    spy = Spy([])
    train(low_rank(), *digits(160), Plan(how(epochs=1), Counting(), holds=(*holds, spy)), seed=0)
    return spy.seen


def test_the_condition_is_bounded_before_the_first_step_and_after_every_one() -> None:
    seen = looked_at(Conditioned(2.0))
    assert [step for step, _ in seen] == [0, 1, 2, 3, 4, None]
    assert all(value <= 2.0 * (1 + 1e-4) for _, values in seen for value in values)
    free = looked_at()
    assert all(max(values) > 5 for _, values in free), "without it they are badly conditioned"


def test_now_and_then_is_after_every_third_step_and_at_the_end() -> None:
    held = {step for step, values in looked_at(Conditioned(1.05, every=3)) if max(values) <= 1.05 * (1 + 1e-4)}
    assert held == {0, 3, None}


def test_the_norm_is_left_alone() -> None:
    def norms(model: nn.Module) -> Tensor:
        return torch.stack([(model[7].second.weight @ model[7].first.weight).norm()])

    model = low_rank()
    before = norms(model)
    Conditioned(1.5).start(model)
    torch.testing.assert_close(norms(model), before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conditioned(0.5), r"bounded by a finite tau >= 1, got 0.5: try 2"),
        (lambda: Conditioned(float("nan")), r"bounded by a finite tau >= 1, got nan"),
        (lambda: Conditioned(2.0, every=0), "steps between two projections must be at least 1, got 0"),
        (lambda: Conditioned(2.0).start(mlp()), "no layer is of low rank, .*: factorise layers first"),
        (lambda: Zeros().start(mlp()), "no weight is zero, so there are no zeros to hold: leave holding zeros out"),
    ],
)
def test_what_cannot_be_held_is_refused(make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()  # type: ignore[operator]


def test_names() -> None:
    assert (Zeros().name, Conditioned(2.0).name) == ("zeros", "condition<=2")


def test_the_record_says_how_long_what_was_held_and_what_chose_the_epoch() -> None:
    plan = Plan(replace(how(epochs=2), steps=4), holds=(Zeros(),), judge=RobustJudge(LinfBall(0.1), samples=20))
    settings = train(pruned(), *digits(160), plan, seed=0).history.settings
    assert settings.steps == 4
    assert settings.holds == ("zeros",)
    assert settings.chosen_by.startswith("RobustJudge(")
    assert "0.1" in settings.chosen_by
