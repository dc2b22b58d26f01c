"""Each objective's losses against what its paper says, where the worst perturbation is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, rel_entr
from torch import Tensor

from brittle.errors import UsageError
from brittle.threats import LinfBall
from brittle.training.adversarial import OBJECTIVES, TRADES, FastTraining, PGDTraining, objective_named
from brittle.training.adversarial.trades import divergence
from brittle.training.protocols import Objective
from tests.training.adversarial.toys import Spying, TwoClasses, folded, generator, images, rows, small_cnn

W, C = [2.0, -1.0, 0.5, 3.0], -1.7
EPSILON = 0.1


def four(n: int) -> tuple[Tensor, Tensor]:
    """Pixels further than epsilon from the walls, so that the whole cube is free."""
    x, _ = rows(n)
    return 0.15 + 0.7 * x[:, :4], torch.arange(n) % 2


def worst_margins(x: Tensor, y: Tensor) -> Tensor:
    """`w . x + c` at the corner that is worst for the label."""
    w = torch.tensor(W, dtype=torch.float64)
    return x @ w + C + torch.where(y == 1, -1.0, 1.0) * EPSILON * w.abs().sum()


def two_class_loss(margin: Tensor, y: Tensor) -> Tensor:
    """`log(1 + exp(-+margin))`."""
    return F.softplus(torch.where(y == 1, -margin, margin))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_pgd_training_takes_the_worst_loss_where_it_attacks_and_the_clean_one_elsewhere(share: float) -> None:
    x, y = four(9)
    losses = PGDTraining(LinfBall(EPSILON), share=share).start()(TwoClasses(W, C), x, y, generator())
    worst = two_class_loss(worst_margins(x, y), y)
    clean = two_class_loss(x @ torch.tensor(W, dtype=torch.float64) + C, y)
    attacked = (torch.arange(9) % 2 == 0) | (share == 1.0)
    torch.testing.assert_close(losses.detach(), torch.where(attacked, worst, clean), rtol=1e-7, atol=0)


def test_the_gradient_in_the_weights_is_that_at_the_worst_point() -> None:
    x, y = four(6)
    model = TwoClasses(W, C)
    PGDTraining(LinfBall(EPSILON), share=1.0).start()(model, x, y, generator()).sum().backward()
    w = torch.tensor(W, dtype=torch.float64)
    corner = x + torch.where(y == 1, -1.0, 1.0)[:, None] * EPSILON * w.sign()
    slope = torch.sigmoid(worst_margins(x, y)) - y  # of the loss in the margin
    assert model.w.grad is not None
    torch.testing.assert_close(model.w.grad, (slope[:, None] * corner).sum(0), rtol=1e-6, atol=1e-7)


def test_fast_training_takes_one_step_of_its_length_from_a_random_start() -> None:
    x, y = images(10)
    threat, model = LinfBall(0.2), Spying(small_cnn(batch_norm=False)).train()
    FastTraining(threat, step_size=0.6).start()(model, x, y, generator())
    (start, _), (found, _) = model.met
    pixels = start.clone().requires_grad_()
    F.cross_entropy(model.inner(pixels), y).backward()
    assert pixels.grad is not None
    stepped = (start + 0.6 * 0.2 * pixels.grad.sign()).clamp(x - 0.2, x + 0.2).clamp(0, 1)
    torch.testing.assert_close(found, stepped, rtol=0, atol=1e-6)
    assert float((start - x).abs().max()) > 0.15  # uniform in the cube, not at its centre


def test_divergence_is_scipy_s_relative_entropy() -> None:
    g = generator()
    logits, other = (4 * torch.randn(7, 5, generator=g, dtype=torch.float64) for _ in range(2))
    p, q = np.exp(log_softmax(other.numpy(), 1)), np.exp(log_softmax(logits.numpy(), 1))
    found = divergence(logits, F.log_softmax(other, 1))
    np.testing.assert_allclose(found.numpy(), rel_entr(p, q).sum(1), rtol=1e-10)


def test_trades_adds_beta_times_the_divergence_at_an_end_of_the_margin() -> None:
    # The divergence is convex in the margin, so its maximum is at one of the two ends; which one, the start decides.
    x, y = four(12)
    model = TwoClasses(W, C)
    losses = TRADES(LinfBall(EPSILON), beta=3.0).start()(model, x, y, generator()).detach()
    w = torch.tensor(W, dtype=torch.float64)
    margin, reach = x @ w + C, EPSILON * w.abs().sum()
    p = torch.stack([torch.sigmoid(-margin), torch.sigmoid(margin)], 1)
    ends = []
    for end in (margin - reach, margin + reach):
        q = torch.stack([torch.sigmoid(-end), torch.sigmoid(end)], 1)
        ends.append(two_class_loss(margin, y) + 3 * torch.from_numpy(rel_entr(p.numpy(), q.numpy())).sum(1))
    errors = (losses - torch.stack(ends)).abs() / losses
    assert float(errors.amin(0).max()) < 1e-6
    assert float((ends[0] - ends[1]).abs().min()) > 1e-3  # the two are told apart


def test_trades_differentiates_through_both_predictions() -> None:
    x, y = images(6)
    model, objective = small_cnn(batch_norm=False), TRADES(LinfBall(0.1), beta=2.0, steps=2)
    spy = Spying(model).train()
    losses = objective.start()(spy, x, y, generator())
    clean, moved = (seen for seen, training in spy.met if training)
    assert torch.equal(clean, x)
    found = torch.autograd.grad(losses.sum(), list(model.parameters()))
    log_p, log_q = F.log_softmax(model(clean), 1), F.log_softmax(model(moved), 1)
    expected = F.nll_loss(log_p, y, reduction="sum") + 2 * (log_p.exp() * (log_p - log_q)).sum()
    for mine, reference in zip(found, torch.autograd.grad(expected, list(model.parameters())), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)


def test_trades_without_weight_is_plain_training() -> None:
    x, y = images(6)
    model = small_cnn(batch_norm=False)
    found = TRADES(LinfBall(0.1), beta=0.0, steps=1).start()(model, x, y, generator())
    torch.testing.assert_close(found, F.cross_entropy(model(x), y, reduction="none"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_members_folded_into_a_batch_train_as_alone(name: str) -> None:
    members, b = 3, 5
    nets, objective = folded(members), OBJECTIVES[name](LinfBall(0.1))
    batches = [[rows(b, seed=10 * step + m) for m in range(members)] for step in range(2)]
    together, each = objective.start(), [objective.start() for _ in range(members)]
    alone = [nets.member(m) for m in range(members)]
    shared, own = [generator(m) for m in range(members)], [generator(m) for m in range(members)]
    for batch in batches:
        x, y = (torch.cat(parts) for parts in zip(*batch, strict=True))
        losses = together(nets, x, y, shared)
        losses.sum().backward()
        for m, (mine_x, mine_y) in enumerate(batch):
            mine = each[m](alone[m], mine_x, mine_y, own[m])
            mine.sum().backward()
            torch.testing.assert_close(losses[m * b : m * b + b], mine, rtol=1e-9, atol=1e-12)
    for m in range(members):
        for stacked, single in zip(nets.parameters(), alone[m].parameters(), strict=True):
            assert stacked.grad is not None
            assert single.grad is not None
            torch.testing.assert_close(stacked.grad[m : m + 1], single.grad, rtol=1e-8, atol=1e-10)


def test_names_tell_objectives_apart() -> None:
    threat = LinfBall(8 / 255)
    names: list[Objective] = [
        PGDTraining(threat),
        PGDTraining(threat, share=1.0),
        PGDTraining(threat, steps=5),
        TRADES(threat),
        TRADES(threat, beta=1.0),
        *(make(threat) for name, make in OBJECTIVES.items() if name in ("fast", "universal")),
        FastTraining(LinfBall(0.1)),
    ]
    assert len({objective.name for objective in names}) == len(names)
    assert PGDTraining(threat).name == "pgd-linf-0.0313725-10x0.25-share0.5"
    assert TRADES(threat).name == "trades-linf-0.0313725-10x0.25-beta6"
    assert [make(threat).name.split("-")[0] for make in OBJECTIVES.values()] == list(OBJECTIVES)


def test_objectives_are_found_by_name() -> None:
    assert objective_named("trades")(LinfBall(0.1), beta=2.0) == TRADES(LinfBall(0.1), beta=2.0)
    with pytest.raises(UsageError, match="unknown adversarial objective 'mart': expected one of pgd, trades, fast"):
        objective_named("mart")


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_shares_outside_their_range_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match=r"share of attacked samples lies in \(0, 1\], got"):
        PGDTraining(LinfBall(0.1), share=share)


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf")])
def test_weights_that_are_no_weights_are_refused(beta: float) -> None:
    with pytest.raises(UsageError, match="TRADES needs beta >= 0, got"):
        TRADES(LinfBall(0.1), beta=beta)
