from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
import torch
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.attacks.confined import ConfinedAPGD
from brittle.errors import DataError, UsageError
from brittle.results.directions import Explained
from brittle.sensitivity.explained import explain
from brittle.sensitivity.explained_interval import damage_share, ratio_interval
from brittle.sensitivity.explained_outcomes import broken_by, check_ms, confined_outcomes, default_ms
from brittle.sensitivity.overlap import overlaps, random_directions, random_overlap
from brittle.threats import EVERYWHERE, PIXELS, ball

EPSILON = 0.12


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _narrow(seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    """64 pixels, of which the net sees three directions, and those directions (3, 8, 8)."""
    basis = torch.linalg.qr(torch.randn(64, 3, generator=_generator(seed), dtype=torch.float64)).Q.T
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 4)).double().eval()
    with torch.no_grad():
        net[1].weight.copy_(4 * net[1].weight @ basis.T @ basis)
        net[1].bias.copy_(-net[1](torch.full((1, 8, 8), 0.5).double().flatten(1))[0] + net[1].bias)
        net[3].bias.zero_()
    return net, basis.reshape(3, 8, 8)


def _samples(net: nn.Module, n: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(n, 8, 8, generator=_generator(7), dtype=torch.float64)
    return x, net(x).argmax(1)


def _explain(net: nn.Module, x: torch.Tensor, y: torch.Tensor, v: torch.Tensor, **more: object) -> Explained:
    settings: dict[str, object] = {
        "name_of_map": "representation",
        "seed": 0,
        "batch_size": 50,
        "draws": 2,
        "steps": 15,
    }
    return explain(net, x, y, v, ball("l2", EPSILON), **{**settings, **more})  # type: ignore[arg-type]


def test_directions_that_are_all_the_net_sees_explain_all_the_damage():
    net, v = _narrow()
    x, y = _samples(net)
    found = _explain(net, x, y, v, box=EVERYWHERE, restarts=2)
    assert (found.map, found.norm, found.epsilon, found.n, found.box) == ("representation", "l2", EPSILON, 120, False)
    assert found.clean == 1.0
    assert 0.2 < found.attacked < 0.9
    assert [c.m for c in found.curve] == [1, 2, 3]
    last = found.curve[-1]
    assert last.damage == pytest.approx(1.0, abs=0.03)
    assert last.interval95 is not None
    assert last.interval95[0] < 1.0 < last.interval95[1]
    assert last.accuracy == pytest.approx(found.attacked, abs=0.03)
    assert found.m_for_90 is not None
    # the whole perturbation lies in the span, so the squared overlaps of one sample would sum to one
    assert sum(o * o for o in found.overlap) > 0.6
    assert found.overlap_random == pytest.approx(sqrt(2 / (pi * 64)), rel=0.05)


def test_random_directions_explain_less_and_unseen_directions_nothing():
    net, v = _narrow()
    x, y = _samples(net)
    found = _explain(net, x, y, v, box=EVERYWHERE)
    assert found.curve[-1].damage - found.curve[-1].random_damage > 0.2  # type: ignore[operator]
    rest = torch.linalg.svd(v.flatten(1)).Vh[3:6].reshape(3, 8, 8)
    blind = _explain(net, x, y, rest, box=EVERYWHERE)
    assert [c.damage for c in blind.curve] == [0.0, 0.0, 0.0]
    assert blind.m_for_90 is None
    assert [c.accuracy for c in blind.curve] == [1.0, 1.0, 1.0]
    assert max(blind.overlap) < 0.1


def test_in_the_pixel_box_pixels_stay_in_it():
    net, v = _narrow()
    x, _ = _samples(net)
    x = x.round()  # every pixel at a wall
    y = net(x).argmax(1)
    seen: list[torch.Tensor] = []
    hook = net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    found = _explain(net, x, y, v)
    hook.remove()
    assert found.box
    assert min(float(s.min()) for s in seen) >= 0
    assert max(float(s.max()) for s in seen) <= 1


def test_shares_follow_from_the_outcomes():
    net, v = _narrow()
    x, y = _samples(net)
    y[:20] = (y[:20] + 1) % 4
    found = _explain(net, x, y, v, ms=[3, 1], box=EVERYWHERE)
    outcomes = confined_outcomes(
        net, x, y, v, ball("l2", EPSILON), ms=[1, 3], box=EVERYWHERE, draws=2, steps=15, seed=0, batch_size=80
    )
    assert not outcomes.right[:20].any()
    assert outcomes.right[20:].all()
    assert not outcomes.full[:20].any()
    assert not outcomes.delta[:20].any()
    assert float(outcomes.delta[20:].flatten(1).norm(dim=1).median()) == pytest.approx(EPSILON, rel=1e-3)
    assert [c.m for c in found.curve] == [1, 3]
    assert found.clean == pytest.approx(100 / 120)
    for c in found.curve:
        lost, random = int(outcomes.confined[c.m].sum()), outcomes.random[c.m]
        assert random.shape == (2, 120)
        assert c.damage == pytest.approx(lost / int(outcomes.full.sum()))
        assert c.accuracy == pytest.approx((100 - lost) / 120)
        assert c.random_damage == pytest.approx(float(random.sum(1).mean()) / int(outcomes.full.sum()))
        assert c.random_accuracy == pytest.approx((100 - float(random.sum(1).mean())) / 120)


def test_an_attack_that_does_nothing_has_no_shares():
    net, v = _narrow()
    x, _ = _samples(net)
    net[3].bias.data[0] += 1e3
    found = _explain(net, x, torch.zeros(120).long(), v)
    assert found.attacked == found.clean == 1.0
    assert {(c.damage, c.interval95, c.random_damage, c.random_interval95) for c in found.curve} == {(None,) * 4}
    assert found.m_for_90 is None


def test_results_belong_to_samples_not_to_batches():
    net, v = _narrow()
    x, y = _samples(net)
    assert _explain(net, x, y, v, ms=[2], draws=1, steps=5) == _explain(
        net, x, y, v, ms=[2], draws=1, steps=5, batch_size=31
    )
    part = torch.arange(0, 120, 3)
    settings = {"ms": [2], "draws": 1, "steps": 3, "seed": 0, "batch_size": 64}
    whole = confined_outcomes(net, x, y, v, ball("l2", EPSILON), **settings)
    some = confined_outcomes(net, x[part], y[part], v, ball("l2", EPSILON), indices=part, **settings)
    assert np.array_equal(whole.confined[2][part.numpy()], some.confined[2])
    torch.testing.assert_close(whole.delta[part], some.delta, rtol=0, atol=1e-9)
    assert _explain(net, x, y, v, seed=1, steps=1) != _explain(net, x, y, v, steps=1)


def test_progress_names_the_attacks_and_counts_to_the_end():
    net, v = _narrow()
    told: list[tuple[str, int, int]] = []
    _explain(net, *_samples(net, 20), v, ms=[1, 3], steps=2, progress=lambda *step: told.append(step))
    assert [done for _, done, _ in told] == list(range(1, 9))
    assert {total for *_, total in told} == {8}
    assert [stage for stage, *_ in told[:4]] == ["apgd-ce-2", "worst-apgd-ce-2", "confined-1-ce-2", "confined-1-ce-2"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"ms": []}, r"numbers of directions from 1 to 3, got \[\]"),
        ({"ms": [0, 2]}, r"numbers of directions from 1 to 3, got \[0, 2\]"),
        ({"ms": [4]}, r"numbers of directions from 1 to 3, got \[4\]"),
        ({"draws": 0}, "expected draws >= 1 of random directions, got 0"),
        ({"steps": 0}, "steps >= 1"),
        ({"loss": "mse"}, "unknown attack loss"),
        ({"batch_size": 0}, "batch size must be >= 1, got 0"),
        ({"directions": torch.ones(2, 8, 8)}, "expected orthonormal directions"),
        ({"directions": torch.eye(3)}, r"expected directions of shape \(m, 8, 8\)"),
    ],
)
def test_settings_out_of_range_are_refused_before_any_work(more, message):
    net, v = _narrow()
    x, y = _samples(net, 5)
    net.register_forward_hook(lambda *_: pytest.fail("the model ran"))
    with pytest.raises(UsageError, match=message):
        _explain(net, x, y, more.pop("directions", v), **more)


def test_a_model_that_is_always_wrong_is_refused():
    net, v = _narrow()
    x, y = _samples(net, 5)
    with pytest.raises(DataError, match="wrong on all 5 samples"):
        _explain(net, x, (y + 1) % 4, v, steps=1)


def test_an_attack_that_leaves_ball_or_box_is_refused():
    class Astray:
        name, cost = "astray", 1

        def __init__(self, by: float) -> None:
            self.by = by

        def __call__(
            self, model: nn.Module, x: torch.Tensor, y: object, threat: object, **rest: object
        ) -> torch.Tensor:
            return x + self.by

    net, _ = _narrow()
    x, y = _samples(net, 5)
    right = torch.ones(5, dtype=torch.bool)
    for by, epsilon, box in ((0.2, 0.1, EVERYWHERE), (1.0, 2.0, PIXELS)):
        with pytest.raises(UsageError, match="attack astray left the threat: linf length"):
            broken_by(net, x, y, right, Astray(by), ball("linf", epsilon), box, torch.arange(5), 0, 3)
    broken, delta = broken_by(net, x, y, right, Astray(1.0), ball("linf", 2.0), EVERYWHERE, torch.arange(5), 0, 3)
    assert torch.equal(delta, (x + 1.0) - x)
    assert np.array_equal(broken, (net(x + 1.0).argmax(1) != y).numpy())


def test_numbers_of_directions():
    assert default_ms(1) == (1,)
    assert default_ms(8) == (1, 2, 4, 8)
    assert default_ms(11) == (1, 2, 4, 8, 11)
    assert check_ms([3, 1, 3], 5) == (1, 3)


# overlaps


def test_overlaps_are_mean_cosines():
    v = torch.eye(4)[:2]
    a = torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0], [-1.0, 0.0, 0.0, 0.0], [0.0] * 4])
    assert overlaps(v, a) == pytest.approx(((0.6 + 0 + 1) / 3, 0.8 / 3))


def test_overlap_of_a_random_direction_is_that_of_sampled_ones():
    for dim in (1, 2, 5, 40):
        u = torch.nn.functional.normalize(
            torch.randn(200_000, dim, generator=_generator(dim), dtype=torch.float64), dim=1
        )
        assert random_overlap(dim) == pytest.approx(float(u[:, 0].abs().mean()), rel=0.01)


def test_random_directions_are_orthonormal_and_uniform():
    v = random_directions(5, (2, 4), 0, 0)
    assert v.shape == (5, 2, 4)
    torch.testing.assert_close(v.flatten(1) @ v.flatten(1).T, torch.eye(5, dtype=torch.float64))
    many = torch.stack([random_directions(2, (3,), 5, i) for i in range(3000)])
    for row in (many[:, 0], many[:, 1]):
        torch.testing.assert_close(row.T @ row / 3000, torch.eye(3, dtype=torch.float64) / 3, atol=0.03, rtol=0)


def test_bad_overlap_inputs_are_refused():
    with pytest.raises(DataError, match="expected perturbations that are not zero, got 3 zero ones"):
        overlaps(torch.eye(4), torch.zeros(3, 4))
    with pytest.raises(UsageError, match="expected orthonormal directions"):
        overlaps(torch.ones(2, 4), torch.ones(3, 4))
    with pytest.raises(UsageError, match="at least one pixel, got 0"):
        random_overlap(0)
    for count in (0, 7):
        with pytest.raises(UsageError, match=f"expected 1 to 6 directions in 6 pixels, got {count}"):
            random_directions(count, (2, 3), 0, 0)


# intervals


def test_interval_of_a_mean_is_the_normal_one_for_many_samples():
    values = np.random.default_rng(0).exponential(size=3000)
    low, high = ratio_interval(values, np.ones(3000), 0)
    half = 1.96 * values.std() / sqrt(3000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_interval_of_a_ratio_agrees_with_the_delta_method():
    rng = np.random.default_rng(1)
    bottom = rng.random(2000) < 0.4
    top = bottom & (rng.random(2000) < 0.7)
    share = top.sum() / bottom.sum()
    half = 1.96 * sqrt(share * (1 - share) / bottom.sum())
    assert ratio_interval(top, bottom, 0) == pytest.approx((share - half, share + half), abs=0.15 * half)


def test_interval_of_a_ratio_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        full = rng.random(150) < 0.5
        share = damage_share((full & (rng.random(150) < 0.8))[None], full[None], seed)
        assert share is not None
        covered += share[1][0] <= 0.8 <= share[1][1]
    assert 180 <= covered <= 200


def test_repeats_of_a_sample_stay_together():
    """Three copies of one outcome tell no more than one."""
    rng = np.random.default_rng(3)
    full = rng.random(400) < 0.5
    broken = full & (rng.random(400) < 0.6)
    once, often = (damage_share(np.tile(broken, (r, 1)), np.tile(full, (r, 1)), 0) for r in (1, 3))
    shared = damage_share(np.tile(broken, (3, 1)), full[None], 0)
    assert once == often == shared


def test_perfect_agreement_still_has_an_interval_and_no_damage_has_no_share():
    full = np.arange(100) < 60
    share = damage_share(full[None], full[None], 0)
    assert share is not None
    assert share[0] == 1.0
    assert 0.9 < share[1][0] < 1.0 < share[1][1] < 1.1
    assert damage_share(full[None], ~np.ones((1, 100), bool), 0) is None


def test_large_resamplings_come_in_blocks(monkeypatch):
    values = np.random.default_rng(0).random(50)
    monkeypatch.setattr("brittle.sensitivity.explained_interval._BLOCK", 1300)
    low, high = ratio_interval(values, np.ones(50), 0)
    half = 1.96 * values.std() / sqrt(50)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.2 * half)


@pytest.mark.parametrize(
    ("top", "bottom", "level", "message"),
    [
        ([1.0], [1.0], 1.5, r"confidence level is in \(0, 1\), got 1.5"),
        ([1.0, 2.0], [1.0], 0.95, r"equal length, got shapes \(2,\) and \(1,\)"),
        ([], [], 0.95, r"equal length, got shapes \(0,\)"),
        ([1.0], [0.0], 0.95, "denominators >= 0 that are not all zero"),
        ([1.0, 1.0], [1.0, -1.0], 0.95, "denominators >= 0"),
        ([float("nan")], [1.0], 0.95, "expected finite numbers"),
    ],
)
def test_bad_numbers_are_refused(top, bottom, level, message):
    with pytest.raises(UsageError, match=message):
        ratio_interval(top, bottom, 0, level=level)


def test_outcomes_that_do_not_match_are_refused():
    ones = np.ones((2, 4), bool)
    with pytest.raises(UsageError, match=r"expected boolean outcomes \(repeats, n\), got int64"):
        damage_share(ones.astype(int), ones, 0)  # type: ignore[arg-type]
    for full in (ones[:, :3], np.ones((3, 4), bool)):
        with pytest.raises(UsageError, match="expected outcomes of the same samples"):
            damage_share(ones, full, 0)


def test_confined_attack_name_is_what_progress_shows():
    assert ConfinedAPGD(torch.eye(3), steps=2).name == "confined-3-ce-2"
    assert APGD(steps=2).name == "apgd-ce-2"
