"""Standings: clean numbers by their definition, robust ones against what is known of a linear classifier."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from brittle.compression.planning.measure import Bench, Standing, adversarial, bench
from brittle.compression.protocols import Evidence
from brittle.threats import L1Ball, L2Ball, LinfBall
from tests.compression.planned_nets import evidence, mlp

BALLS = [LinfBall(0.08), L2Ball(0.5), L1Ball(2.0)]


def test_without_a_threat_both_are_the_clean_numbers() -> None:
    model, given = mlp(), evidence(90)
    found = bench(model, given, batch_size=40).measure(model)
    with torch.no_grad():
        logits = model(given.x)
    assert found.clean == pytest.approx(float((logits.argmax(1) == given.y).float().mean()))
    assert found.clean_loss == pytest.approx(float(F.cross_entropy(logits, given.y)), rel=1e-5)
    assert (found.robust, found.robust_loss) == (found.clean, found.clean_loss)


@pytest.mark.parametrize("threat", BALLS, ids=lambda ball: ball.norm)
def test_attacks_stay_inside_and_only_make_things_worse(threat: LinfBall) -> None:
    model, given = mlp(), evidence(60, threat=threat)
    x_adv = adversarial(model, given, batch_size=25)
    assert float(threat.length((x_adv - given.x).double()).max()) <= threat.epsilon
    assert float(x_adv.min()) >= 0
    assert float(x_adv.max()) <= 1
    found = bench(model, given, batch_size=25).measure(model)
    assert found.robust < found.clean
    assert found.robust_loss > found.clean_loss


def test_for_a_linear_classifier_the_worst_loss_is_reached() -> None:
    """Two classes: the margin falls by epsilon times the l1 norm of the weights' difference, away from the box."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    x = 0.5 + 0.2 * (torch.rand(50, 1, 3, 4, generator=generator) - 0.5)
    y = torch.randint(0, 2, (50,), generator=generator)
    found = bench(model, Evidence(x, y, LinfBall(0.05), 0), batch_size=50).measure(model)
    w, b = model[1].weight.detach(), model[1].bias.detach()
    margin = (x.flatten(1) @ (w[1] - w[0]) + b[1] - b[0]) * (2 * y - 1) - 0.05 * float((w[1] - w[0]).abs().sum())
    assert found.robust_loss == pytest.approx(float(F.softplus(-margin).mean()), rel=1e-4)
    assert found.robust == pytest.approx(float((margin > 0).float().mean()))


def test_the_parents_examples_count_against_a_child_whose_gradients_say_nothing() -> None:
    """A child that follows the parent but hides its gradient behind a rounding step stands no better than it."""

    class Masked(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).detach() + 0 * x.flatten(1).sum(1, keepdim=True)

    model, given = mlp(), evidence(60, threat=LinfBall(0.1))
    board = bench(model, given, batch_size=60)
    assert board.measure(Masked(model)).robust <= board.measure(model).robust + 0.05
    alone = Bench(board.x, board.y, board.x, board.threat, 60)  # no examples of the parent: the attack goes nowhere
    assert alone.measure(Masked(model)).robust == alone.measure(Masked(model)).clean


def test_a_childs_own_weakness_counts() -> None:
    """The attack goes on from the parent's examples: a child other than the parent is attacked for what it is."""
    model, given = mlp(), evidence(60, threat=LinfBall(0.1))
    board = bench(model, given, batch_size=60)
    still = Bench(board.x, board.y, board.x_adv, board.threat, 60, steps=0)
    other = mlp()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    assert board.measure(other).robust_loss > still.measure(other).robust_loss + 0.01


def test_batches_do_not_matter_and_the_model_stays_as_it_was() -> None:
    model, given = mlp().train(), evidence(50, threat=LinfBall(0.05))
    one, many = (bench(model, given, batch_size=size).measure(model) for size in (50, 7))
    assert (one.clean, one.robust) == (many.clean, many.robust)
    assert one.robust_loss == pytest.approx(many.robust_loss, rel=1e-5)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_the_loss_mixes_clean_and_robust() -> None:
    standing = Standing(1.0, 0.9, 3.0, 0.5)
    assert [standing.loss(share) for share in (0.0, 0.25, 1.0)] == [1.0, 1.5, 3.0]


def test_the_clean_sample_counts_where_it_is_the_worst_point() -> None:
    """Examples on which a child does better than on the clean samples do not make it look robust."""
    model, given = mlp(), evidence(60, threat=LinfBall(0.1))
    y = torch.full_like(given.y, int(given.y[0]))  # mostly wrong on the samples, right on the first of them
    easy = given.x[:1].expand_as(given.x)
    assert int(model(easy[:1]).argmax()) == int(y[0])
    found = Bench(given.x, y, easy, given.threat, 60, steps=0).measure(model)
    assert found.clean < 0.5
    assert found.robust == found.clean
    assert found.robust_loss == pytest.approx(found.clean_loss, rel=0.01)
