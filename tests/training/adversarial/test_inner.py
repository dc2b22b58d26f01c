"""The inner maximisation against closed forms, and what it must not touch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from brittle.attacks.losses import cross_entropy
from brittle.errors import BrittleError, UsageError
from brittle.models.frozen import frozen
from brittle.threats import L2Ball, LinfBall, ball
from brittle.training.adversarial import OBJECTIVES, TRADES, FastTraining, PGDTraining, UniversalTraining
from brittle.training.adversarial.inner import ball_start, climb, room_around
from brittle.training.protocols import Objective
from tests.training.adversarial.toys import Counted, Spying, TwoClasses, generator, images, inside, small_cnn

W, C = [2.0, -1.0, 0.5, 3.0], 0.3
THREATS = [LinfBall(0.1), L2Ball(0.4)]


def every(threat: Any) -> list[Objective]:
    return [
        PGDTraining(threat, steps=3, step_size=0.9),
        PGDTraining(threat, steps=2, share=1.0),
        TRADES(threat, steps=3, step_size=0.9),
        FastTraining(threat),
        UniversalTraining(threat, step_size=0.7),
    ]


def test_the_corner_of_the_cube_is_found_on_a_linear_net() -> None:
    model, threat = TwoClasses(W, C), LinfBall(0.1)
    x = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.05, 1.0, 0.0, 0.95]], dtype=torch.float64)
    room = room_around(threat, x)
    with frozen(model):
        start = ball_start(x, room, generator())
        found = climb(model, x, torch.tensor([0, 0]), start, room, cross_entropy, 10, 0.5)
    corner = (x + 0.1 * torch.tensor(W).sign()).clamp(0, 1)
    torch.testing.assert_close(found, corner, rtol=0, atol=1e-8)


def test_the_point_along_w_is_found_on_the_sphere() -> None:
    model, threat = TwoClasses(W, C), L2Ball(0.2)
    x = torch.full((1, 4), 0.5, dtype=torch.float64)
    room = room_around(threat, x)
    with frozen(model):
        start = ball_start(x, room, generator())
        found = climb(model, x, torch.tensor([1]), start, room, cross_entropy, 60, 0.5)
    w = torch.tensor(W, dtype=torch.float64)
    torch.testing.assert_close(found, x - 0.2 * w / w.norm(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("threat", THREATS)
def test_random_starts_lie_in_ball_and_box_and_differ(threat: Any) -> None:
    x, _ = images(40)
    start = ball_start(x, room_around(threat, x), generator())
    assert inside(x, start, threat)
    assert not torch.equal(start, ball_start(x, room_around(threat, x), generator(1)))
    moved = threat.length(start - x)
    assert float(moved.max()) > 0.7 * threat.epsilon


@pytest.mark.parametrize("threat", THREATS)
def test_every_point_the_net_learns_from_lies_in_ball_and_box(threat: Any) -> None:
    x, y = images(12)
    for objective in every(threat):
        model, loss = Spying(small_cnn()).train(), objective.start()
        for _ in range(3):
            loss(model, x, y, generator())
        trained = [seen for seen, training in model.met if training]
        assert len(trained) >= 3
        assert any(not torch.equal(seen, x) for seen in trained)
        assert all(inside(x, seen, threat) for seen in trained)


def test_the_attack_meets_the_net_in_eval_mode_and_leaves_it_as_it_was() -> None:
    x, y = images(6)
    for objective in every(THREATS[0]):
        model = small_cnn()
        before = copy.deepcopy(model.state_dict())
        spy = Spying(model).train()
        losses = objective.start()(spy, x, y, generator())
        assert losses.shape == (6,)
        assert all(module.training for module in spy.modules())
        assert all(p.requires_grad and p.grad is None for p in spy.parameters())
        trained = [seen for seen, training in spy.met if training]
        assert len(trained) == (2 if isinstance(objective, TRADES) else 1)
        # Running statistics hear of the passes in train mode and of nothing else.
        model.load_state_dict(before)
        for seen in trained:
            expected = copy.deepcopy(model).train()
            expected(seen)
            model.load_state_dict(expected.state_dict())
        again = small_cnn()
        objective.start()(again, x, y, generator())
        for name, value in model.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), (objective.name, name)


def test_the_cost_is_the_number_of_gradients() -> None:
    x, y = images(8)
    for objective in every(THREATS[0]):
        model = Counted(small_cnn())
        objective.start()(model, x, y, generator())
        assert model.samples / len(x) == objective.cost, objective.name


def test_the_same_generator_gives_the_same_losses_and_the_global_state_does_not_matter() -> None:
    x, y = images(6)
    for objective in every(THREATS[1]):
        model = small_cnn(batch_norm=False)

        def losses(objective: Objective, seed: int, model: nn.Module = model) -> Tensor:
            torch.rand(seed + 1)
            return objective.start()(model, x, y, generator(seed)).detach()

        assert torch.equal(losses(objective, 3), losses(objective, 3))
        if not isinstance(objective, UniversalTraining):  # which draws nothing
            assert not torch.equal(losses(objective, 3), losses(objective, 4))


@pytest.mark.parametrize("make", OBJECTIVES.values())
def test_balls_and_steps_that_cannot_be_used_are_refused(make: Any) -> None:
    with pytest.raises(UsageError, match="expects a ball in linf or l2, got 'l1'"):
        make(ball("l1", 1.0))
    with pytest.raises(UsageError, match=r"epsilon must be a positive number in pixel units, got 0\.0"):
        make(LinfBall(0.0))
    with pytest.raises(UsageError, match=r"epsilon must be a positive number in pixel units, got nan"):
        make(L2Ball(float("nan")))
    with pytest.raises(UsageError, match="step_size is a positive multiple of epsilon, got 0"):
        make(LinfBall(0.1), step_size=0)
    with pytest.raises(UsageError, match="step_size is a positive multiple of epsilon, got nan"):
        make(LinfBall(0.1), step_size=float("nan"))


@pytest.mark.parametrize("make", [PGDTraining, TRADES])
def test_an_attack_without_steps_is_refused(make: Any) -> None:
    with pytest.raises(UsageError, match="needs at least 1 step of attack, got 0"):
        make(LinfBall(0.1), steps=0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_pixels_in_half_precision_are_refused(name: str) -> None:
    x, y = images(2)
    loss = OBJECTIVES[name](LinfBall(0.1)).start()
    with pytest.raises(UsageError, match=r"expects float32 or float64 pixels, got torch\.bfloat16"):
        loss(small_cnn().bfloat16(), x.bfloat16(), y, generator())


def test_a_radius_below_the_pixels_resolution_is_refused() -> None:
    x, y = images(2)
    with pytest.raises(BrittleError, match="too small for float32 pixels"):
        PGDTraining(LinfBall(1e-9)).start()(small_cnn(), x, y, generator())
