"""The universal perturbation: how it moves, that it survives checkpoints, and that one net learns against it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from brittle.attacks.losses import cross_entropy
from brittle.attacks.universal_gradient import shared_gradient
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import L2Ball, LinfBall
from brittle.training.adversarial import UniversalTraining
from brittle.training.engine import train
from brittle.training.plan import Dynamics, Plan
from tests.training.adversarial.toys import TwoClasses, generator, images, small_cnn
from tests.training.toys import digits, mlp, same

W, C = [2.0, -1.0, 0.5, 3.0], 0.3


def test_on_a_linear_net_it_walks_to_the_worst_corner_for_all() -> None:
    model, loss = TwoClasses(W, C), UniversalTraining(LinfBall(0.1), step_size=0.25).start()
    x, y = torch.full((5, 4), 0.5, dtype=torch.float64), torch.zeros(5, dtype=torch.int64)
    for step in range(1, 7):
        losses = loss(model, x, y, generator())
        delta = min(0.025 * step, 0.1) * torch.tensor(W, dtype=torch.float64).sign()
        torch.testing.assert_close(loss.state()["delta"], delta[None], rtol=1e-6, atol=1e-8)
        expected = F.cross_entropy(model(x + delta), y, reduction="none")
        torch.testing.assert_close(losses.detach(), expected.detach(), rtol=1e-6, atol=0)


def test_the_step_follows_the_shared_gradient_walls_included() -> None:
    x, y = images(20)
    model, threat = small_cnn(), L2Ball(0.8)
    loss = UniversalTraining(threat, step_size=0.5).start()
    delta = 0.5 * threat.project(torch.randn(x.shape[1:], generator=generator())[None])
    loss.restore({"delta": delta})
    loss(model, x, y, generator())
    again = small_cnn()
    with frozen(again):
        slope = shared_gradient(again, x, y, delta[0], cross_entropy, 7)
    expected = threat.project(delta + 0.5 * 0.8 * slope[None] / slope.norm())
    torch.testing.assert_close(loss.state()["delta"], expected, rtol=1e-3, atol=1e-5)
    assert float(threat.length(loss.state()["delta"].double())) <= 0.8


def test_a_single_sample_beyond_the_cap_does_not_move_it() -> None:
    model = TwoClasses([50.0, 0.0, 0.0, 0.0], 0.0)
    x, y = torch.full((1, 4), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)  # a loss of 25 nats
    loss = UniversalTraining(LinfBall(0.1)).start()
    loss(model, x, y, generator())
    assert not loss.state()["delta"].any()
    higher = UniversalTraining(LinfBall(0.1), cap=30.0).start()
    higher(model, x, y, generator())
    assert float(higher.state()["delta"][0, 0]) > 0


def test_it_goes_on_from_its_state() -> None:
    x, y = images(8)
    objective = UniversalTraining(LinfBall(0.1), step_size=0.3)
    assert objective.start().state() == {}
    through, first = objective.start(), objective.start()
    for _ in range(2):
        through(small_cnn(), x, y, generator())
        first(small_cnn(), x, y, generator())
    second = objective.start()
    second.restore(first.state())
    assert torch.equal(second(small_cnn(), x, y, generator()), through(small_cnn(), x, y, generator()))
    second.restore({})
    assert second.state() == {}


class StopHereError(Exception):
    pass


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    parts, plan = digits(200), Plan(Dynamics(epochs=3), UniversalTraining(LinfBall(0.1)))
    whole = train(mlp(), *parts, plan, seed=0).model.state_dict()

    def stop(stage: str, done: int, total: int) -> None:
        if done == 2:
            raise StopHereError

    with pytest.raises(StopHereError):
        train(mlp(), *parts, plan, seed=0, checkpoints=tmp_path, every=0, progress=stop)
    assert any(tmp_path.iterdir())
    assert same(train(mlp(), *parts, plan, seed=0, checkpoints=tmp_path).model.state_dict(), whole)


def test_a_cap_that_is_no_loss_is_refused() -> None:
    for cap in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="largest loss that counts must be a positive number of nats, got"):
            UniversalTraining(LinfBall(0.1), cap=cap)
