"""Terms with a memory: kept polar factors and kept subspaces."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.training.engine import train
from brittle.training.penalties.nuclear import FastNuclear, FastNuclearScaleInvariant, Nuclear, NuclearScaleInvariant
from brittle.training.penalties.spectral import Spectral
from brittle.training.plan import Dynamics, Plan, Weighted
from brittle.training.protocols import Penalty
from tests.training.penalties.made import normal, polar, slopes, with_values


def test_the_exact_term_is_the_nuclear_norm_with_its_gradient() -> None:
    w = normal(20, 30).float()
    leaf = w.clone().requires_grad_()
    torch.linalg.svdvals(leaf).sum().backward()
    term = Nuclear().start()
    assert float(term([w])) == pytest.approx(float(torch.linalg.svdvals(w).sum()), rel=1e-5)
    for _ in range(2):
        torch.testing.assert_close(slopes(term, [w])[0], leaf.grad, atol=1e-5, rtol=0)
    assert term.state().keys() == {"left", "window"}  # no factor to put into a checkpoint


def test_windows_double_and_make_up_for_what_the_last_one_missed() -> None:
    """Windows of 1, 2, 4, 5 and 5 steps; 3/4 of the change, times the ratio of lengths, is pulled along too."""
    term = FastNuclear(refresh=5).start()
    weights = [normal(6, 8, seed=i) for i in range(17)]
    pulls = [slopes(term, [w])[0] for w in weights]
    starts, lengths = [0, 1, 3, 7, 12], [1, 2, 4, 5, 5]
    for j, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        expected = now = polar(weights[start])
        if j:
            expected = now + 0.75 * lengths[j - 1] / length * (now - polar(weights[starts[j - 1]]))
        for pull in pulls[start : start + length]:
            torch.testing.assert_close(pull, expected, atol=1e-10, rtol=0)


def test_a_standing_weight_is_pulled_along_its_own_factor() -> None:
    term, w = FastNuclear(refresh=2).start(), normal(6, 8)
    for _ in range(5):
        torch.testing.assert_close(slopes(term, [w])[0], polar(w), atol=1e-10, rtol=0)


def test_the_scale_below_is_always_fresh() -> None:
    term = FastNuclearScaleInvariant(refresh=5).start()
    first, second = normal(6, 8, seed=1), normal(6, 8, seed=2)
    for w in (first, first):  # a window of one step, then the first of two
        slopes(term, [w])
    size, q = second.norm(), polar(first)
    expected = q / size - (q * second).sum() * second / size**3
    torch.testing.assert_close(slopes(term, [second])[0], expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("penalty", [FastNuclear(3), FastNuclearScaleInvariant(3), Spectral(), NuclearScaleInvariant()])
@pytest.mark.parametrize("calls", range(8))
def test_a_restored_term_goes_on_to_the_same_bits(penalty: Penalty, calls: int) -> None:
    moving = [[normal(6, 8, seed=i).float(), normal(3, 6, seed=50 + i).float()] for i in range(12)]
    term = penalty.start()
    for weights in moving[:calls]:
        term(weights)
    other = penalty.start()
    other.restore({name: tensor.clone() for name, tensor in term.state().items()})
    for weights in moving[calls:]:
        for a, b in zip(slopes(term, weights), slopes(other, weights), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("make", [FastNuclear, FastNuclearScaleInvariant])
def test_refresh_of_at_least_one(make: type[FastNuclear]) -> None:
    with pytest.raises(UsageError, match="a polar factor is kept for at least 1 step, got 0"):
        make(refresh=0)


def test_spectral_norm_from_the_first_call_on() -> None:
    w = with_values(torch.tensor([2.0, 1.9, 1.8, 0.5, 0.4, 0.1]), 40, 30)
    leaf = w.clone().requires_grad_()
    torch.linalg.matrix_norm(leaf, 2).backward()
    term = Spectral().start()
    assert float(term([w])) == pytest.approx(2, rel=1e-9)
    torch.testing.assert_close(slopes(term, [w])[0], leaf.grad, atol=1e-6, rtol=0)


def test_spectral_norm_follows_a_change_of_the_leading_vector() -> None:
    """One vector alone would stay with the value that once led."""
    u, v = torch.linalg.qr(normal(20, 8, seed=1)).Q, torch.linalg.qr(normal(15, 8, seed=2)).Q
    term, values = Spectral().start(), torch.tensor([2.0, 1.0, 0.6, 0.5, 0.3, 0.2, 0.1, 0.1]).double()
    term([(u * values) @ v.T])
    values[1] = 3.0
    assert float(term([(u * values) @ v.T])) == pytest.approx(3, rel=1e-6)


@pytest.mark.parametrize("proximal", [False, True])
@pytest.mark.parametrize("name", ["nuclear", "nuclear_fast", "group_lasso", "l1"])
def test_the_engine_lowers_them_either_way(name: str, proximal: bool) -> None:
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(0))
    data = Split(x, (x[:, 0] > 0.5).long())
    ends = []
    for strength in (0.0, 0.3):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
        plan = Plan(
            Dynamics(epochs=3, batch_size=10, learning_rate=2e-2), penalties=(Weighted(name, strength, proximal),)
        )
        ends.append(train(net, data, data, plan, seed=0).history.rows[-1].penalties[name])
    assert ends[1] < 0.99 * ends[0]
