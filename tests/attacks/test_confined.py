from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.attacks.confined import ConfinedAPGD, SpanRoom, UnboxedAPGD, check_basis
from brittle.attacks.keep import Highest
from brittle.errors import DataError, UsageError
from brittle.threats import EVERYWHERE, PIXELS, Box, ball


def _span(m: int, shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    numbers = torch.randn(int(np.prod(shape)), m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(numbers).Q.T.reshape(m, *shape).to(dtype)


def _linear(d: int, seed: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(d, 2)).to(dtype).requires_grad_(False)
    net[1].weight.copy_(torch.randn(2, d, generator=torch.Generator().manual_seed(seed), dtype=dtype))
    return net


def _off_span(delta: torch.Tensor, basis: torch.Tensor) -> float:
    flat, rows = delta.double().flatten(1), basis.double().flatten(1)
    return float((flat - flat @ rows.T @ rows).norm(dim=1).max())


@settings(deadline=None, max_examples=40)
@given(
    norm=st.sampled_from(["linf", "l2", "l1"]),
    m=st.integers(1, 12),
    epsilon=st.floats(1e-3, 3.0),
    seed=st.integers(0, 2**32),
    double=st.booleans(),
)
def test_moves_and_starts_stay_in_span_and_ball_without_a_box(norm, m, epsilon, seed, double):
    dtype = torch.float64 if double else torch.float32
    generator = torch.Generator().manual_seed(seed)
    basis, x = _span(m, (3, 4), seed, dtype), torch.rand(5, 3, 4, generator=generator, dtype=dtype)
    room = SpanRoom(ball(norm, epsilon), basis, EVERYWHERE)
    towards = x + 4 * torch.randn(5, 3, 4, generator=generator, dtype=dtype)
    slack = 1e-12 if double else 1e-5 * (1 + epsilon)
    for point in (room.project(x, towards), room.start(x, torch.arange(5), seed, "s")):
        assert point.dtype == dtype
        assert float(ball(norm, epsilon).length(point - x).max()) <= epsilon + slack
        assert _off_span(point - x, basis) <= 10 * slack
    assert room.epsilon == epsilon


@settings(deadline=None, max_examples=30)
@given(norm=st.sampled_from(["linf", "l2"]), m=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_pixel_box_keeps_the_ball(norm, m, seed):
    x = torch.rand(5, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).round()
    room = SpanRoom(ball(norm, 0.7), _span(m, (12,), seed))
    for point in (room.project(x, x + torch.randn_like(x)), room.start(x, torch.arange(5), seed, "s")):
        assert float(point.min()) >= 0
        assert float(point.max()) <= 1
        assert float(ball(norm, 0.7).length(point - x).max()) <= 0.7 + 1e-12


def test_l2_projection_is_the_nearest_point_of_ball_and_span():
    basis, x = _span(3, (8,), 0), torch.rand(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    room = SpanRoom(ball("l2", 0.4), basis, EVERYWHERE)
    towards = x + torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = room.project(x, towards)
    # first-order condition of a convex set: no other point of it lies on the far side
    weights = torch.nn.functional.normalize(torch.randn(200, 3, dtype=torch.float64), dim=1) * 0.4
    others = x[:, None] + weights @ basis
    assert float(((towards - found)[:, None] * (others - found[:, None])).sum(2).max()) <= 1e-12
    inside = x + 0.1 * basis[0]
    torch.testing.assert_close(room.project(x, inside), inside, rtol=0, atol=1e-14)


def test_l2_step_is_the_normalised_projected_gradient():
    basis, g = _span(4, (2, 5), 1), torch.randn(3, 2, 5, dtype=torch.float64)
    expected = g.flatten(1) @ basis.flatten(1).T @ basis.flatten(1)
    expected = (expected / expected.norm(dim=1, keepdim=True)).view_as(g)
    torch.testing.assert_close(SpanRoom(ball("l2", 0.1), basis).steepest(g), expected)


@pytest.mark.parametrize("m", [1, 2, 5, 10])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_step_in_other_norms_is_unit_and_ascends_and_close_to_the_linear_program(norm, m):
    basis = _span(m, (10,), 3)
    g = torch.randn(6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(m))
    step = SpanRoom(ball(norm, 0.1), basis).steepest(g)
    torch.testing.assert_close(ball(norm, 0.1).length(step), torch.ones(6, dtype=torch.float64))
    assert _off_span(step, basis) < 1e-12
    gains = (g * step).sum(1).numpy()
    v = basis.numpy()
    for gain, gradient in zip(gains, g.numpy(), strict=True):
        if norm == "linf":
            a, b, c = np.concatenate([v.T, -v.T]), np.ones(20), -(v @ gradient)
        else:  # coefficients, then bounds t >= |delta| that sum to one
            eye = np.eye(10)
            a = np.block([[v.T, -eye], [-v.T, -eye], [np.zeros((1, m)), np.ones((1, 10))]])
            b, c = np.append(np.zeros(20), 1.0), np.append(-(v @ gradient), np.zeros(10))
        best = -linprog(c, A_ub=a, b_ub=b, bounds=[(None, None)] * len(c)).fun
        assert 0.4 * best <= gain <= best * (1 + 1e-9)
        if m in (1, 10):
            assert gain == pytest.approx(best)


def test_zero_gradient_gives_no_step():
    step = SpanRoom(ball("linf", 0.1), _span(2, (4,), 0)).steepest(torch.zeros(2, 4, dtype=torch.float64))
    assert not step.any()


def test_starts_fill_the_ball_of_the_span_and_differ_between_samples():
    room = SpanRoom(ball("l2", 1.0), _span(2, (6,), 0), EVERYWHERE)
    x = torch.full((4000, 6), 0.5, dtype=torch.float64)
    radius = (room.start(x, torch.arange(4000), 0, "s") - x).norm(dim=1)
    # uniform in a disc: the squared radius is uniform
    shares = [float((radius.square() < q).double().mean()) for q in (0.25, 0.5, 0.75)]
    assert shares == pytest.approx([0.25, 0.5, 0.75], abs=0.05)
    assert len(radius.unique()) == 4000


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_model_is_broken_exactly_where_the_span_allows(norm):
    """Along one direction the margin moves by `epsilon |w . v| / ||v||_p` and no more."""
    x = torch.rand(200, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net, basis = _linear(9, 0), _span(1, (9,), 5)
    y, logits = net(x).argmax(1), net(x)
    threat = ball(norm, 3.0 if norm == "l2" else 1.5)
    w = net[1].weight[0] - net[1].weight[1]
    reach = threat.epsilon * (w @ basis[0]).abs() / threat.length(basis)[0]
    gap = (logits[:, 0] - logits[:, 1]).abs()
    attack = ConfinedAPGD(basis, steps=20, box=EVERYWHERE)
    x_adv = attack(net, x, y, threat, indices=torch.arange(200), seed=0)
    clear = (gap - reach).abs() > 1e-6
    assert torch.equal((net(x_adv).argmax(1) != y)[clear], (gap < reach)[clear])
    assert 20 < int((gap < reach).sum()) < 180
    assert _off_span(x_adv - x, basis) < 1e-12


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_unboxed_attack_reaches_the_dual_norm_and_leaves_the_box(norm):
    x = torch.rand(200, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).round()
    net = _linear(9, 1)
    logits = net(x)
    y, threat = logits.argmax(1), ball(norm, 0.4 if norm == "l2" else 0.15)
    reach = threat.epsilon * threat.dual_length((net[1].weight[0] - net[1].weight[1])[None])[0]
    gap = (logits[:, 0] - logits[:, 1]).abs()
    x_adv = UnboxedAPGD(steps=20)(net, x, y, threat, indices=torch.arange(200), seed=0)
    clear = (gap - reach).abs() > 1e-6
    assert torch.equal((net(x_adv).argmax(1) != y)[clear], (gap < reach)[clear])
    assert float(threat.length(x_adv - x).max()) <= threat.epsilon
    assert float(x_adv.min()) < 0
    assert float(x_adv.max()) > 1


def _bent(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 4)).eval()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("epsilon", [0.05, 2.5])
def test_float32_answers_stay_in_the_threat(norm, epsilon):
    net, x = _bent(), torch.rand(60, 12, generator=torch.Generator().manual_seed(3))
    y, indices, threat = net(x).argmax(1), torch.arange(60), ball(norm, epsilon)
    basis = _span(5, (12,), 0, torch.float32)
    for attack in (ConfinedAPGD(basis, box=EVERYWHERE), ConfinedAPGD(basis), UnboxedAPGD()):
        x_adv = attack(net, x, y, threat, indices=indices, seed=0)
        assert float(threat.length(x_adv.double() - x.double()).max()) <= epsilon
        assert (x_adv != x).any()
    boxed = ConfinedAPGD(basis)(net, x, y, threat, indices=indices, seed=0)
    assert float(boxed.min()) >= 0
    assert float(boxed.max()) <= 1


def test_answers_belong_to_samples_not_to_batches():
    net, x = _bent().double(), torch.rand(30, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y, indices, threat = net(x).argmax(1), torch.arange(30), ball("l2", 0.2)
    part = torch.tensor([7, 3, 29])
    for attack in (ConfinedAPGD(_span(5, (12,), 0), restarts=2), UnboxedAPGD(restarts=2)):
        whole = attack(net, x, y, threat, indices=indices, seed=0)
        alone = attack(net, x[part], y[part], threat, indices=indices[part], seed=0)
        torch.testing.assert_close(alone, whole[part], rtol=0, atol=1e-9)


def test_restarts_only_add_and_the_model_comes_back_as_it_was():
    net = _bent().double().train()
    with torch.no_grad():
        net[1].weight.mul_(20)
    x = torch.rand(200, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    y, indices, threat = net(x).argmax(1), torch.arange(200), ball("l2", 0.1)

    def broken(attack: ConfinedAPGD) -> torch.Tensor:
        return net(attack(net, x, y, threat, indices=indices, seed=0)).argmax(1) != y

    once, often = (broken(ConfinedAPGD(_span(6, (12,), 1), steps=1, restarts=r)) for r in (1, 4))
    assert bool((often | ~once).all())
    assert int(often.sum()) > int(once.sum())
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_all_directions_do_what_the_unboxed_attack_does_for_a_convex_loss():
    net, x = _linear(9, 2), torch.rand(100, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y, indices, threat = net(x).argmax(1), torch.arange(100), ball("linf", 0.1)
    every = ConfinedAPGD(_span(9, (9,), 0), box=EVERYWHERE)(net, x, y, threat, indices=indices, seed=0)
    full = UnboxedAPGD()(net, x, y, threat, indices=indices, seed=0)
    assert torch.equal(net(every).argmax(1) == y, net(full).argmax(1) == y)
    assert 5 < int((net(full).argmax(1) != y).sum()) < 95


def test_search_with_the_largest_loss_goes_to_the_sphere():
    net, x = _linear(9, 2), torch.rand(50, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y, threat = net(x).argmax(1), ball("l2", 0.5)
    x_adv = UnboxedAPGD().search(net, x, y, threat, Highest, indices=torch.arange(50), seed=0)
    w = torch.nn.functional.normalize(net[1].weight[1] - net[1].weight[0], dim=0)
    along = ((x_adv - x) @ w).abs()
    torch.testing.assert_close(along, torch.full_like(along, 0.5), rtol=1e-4, atol=0)


def test_settings_names_and_cost():
    basis = _span(3, (4,), 0)
    assert ConfinedAPGD(basis, steps=7, restarts=2).name == "confined-3-ce-7x2"
    assert ConfinedAPGD(basis, steps=7, restarts=2).cost == 14
    assert UnboxedAPGD(steps=7).name == "unboxed-ce-7"
    assert UnboxedAPGD(steps=7).cost == 7
    assert ConfinedAPGD(basis).box == PIXELS
    for make in (lambda **k: ConfinedAPGD(basis, **k), UnboxedAPGD):
        with pytest.raises(UsageError, match="steps >= 1 and restarts >= 1, got steps=0"):
            make(steps=0)
        with pytest.raises(UsageError, match="unknown attack loss 'mse'"):
            make(loss="mse")


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (torch.eye(4)[:2], r"expected directions of shape \(m, 5\), got \(2, 4\)"),
        (torch.empty(0, 5), r"expected directions of shape \(m, 5\), got \(0, 5\)"),
        (torch.ones(5), r"expected directions of shape \(m, 5\), got \(5,\)"),
        (2 * torch.eye(5)[:2], "orthonormal directions, got products up to 3 away"),
        (torch.ones(2, 5) / 5**0.5, "orthonormal directions, got products up to 1 away"),
        (torch.eye(5) * float("nan"), "orthonormal directions, got products up to nan away"),
    ],
)
def test_unusable_directions_are_refused(basis, message):
    with pytest.raises(UsageError, match=message):
        check_basis(basis, (5,))
    with pytest.raises(UsageError, match=message):
        ConfinedAPGD(basis)(nn.Linear(5, 2), torch.rand(3, 5), torch.zeros(3).long(), ball("l2", 1), indices=torch.arange(3), seed=0)  # fmt: skip  # noqa: E501


def test_orthonormal_directions_pass():
    check_basis(_span(3, (2, 5), 0, torch.float32), (2, 5))


@pytest.mark.parametrize("attack", [ConfinedAPGD(torch.eye(5)), UnboxedAPGD()])
def test_unusable_samples_are_refused(attack):
    with pytest.raises(DataError, match=r"expected pixels in \[0, 1\]"):
        attack(nn.Linear(5, 2), torch.rand(3, 5) + 1, torch.zeros(3).long(), ball("l2", 1), indices=torch.arange(3), seed=0)  # fmt: skip  # noqa: E501


def test_a_box_of_the_callers_is_kept():
    net, x = _bent(), torch.rand(40, 12, generator=torch.Generator().manual_seed(3))
    attack = ConfinedAPGD(_span(6, (12,), 0, torch.float32), box=Box(-0.125, 1.125))
    x_adv = attack(net, x, net(x).argmax(1), ball("l2", 2.0), indices=torch.arange(40), seed=0)
    assert float(x_adv.min()) >= -0.125
    assert float(x_adv.max()) <= 1.125
    assert float(x_adv.max()) > 1.0


def test_confined_attack_matches_the_full_one_in_the_box_when_nothing_is_confined():
    net, x = _bent(), torch.rand(100, 12, generator=torch.Generator().manual_seed(9))
    y, threat, indices = net(x).argmax(1), ball("l2", 0.3), torch.arange(100)
    full = net(APGD()(net, x, y, threat, indices=indices, seed=0)).argmax(1) == y
    every = net(ConfinedAPGD(_span(12, (12,), 0))(net, x, y, threat, indices=indices, seed=0)).argmax(1) == y
    assert 10 < int(full.sum()) < 90
    assert int((full != every).sum()) <= 3
