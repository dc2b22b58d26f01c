"""Nested sizes in a plan: their ladders, the search over them, and layers fitted again at them."""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brittle.compression.carry_out import carry_out_with, nestings
from brittle.compression.cost import PlannedParameters, parameters
from brittle.compression.methods import METHODS, compress_to
from brittle.compression.modes import Modes
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.knobs import Knob, Knobs, knobs
from brittle.compression.planning.measure import bench
from brittle.compression.planning.mends import Refitted
from brittle.compression.planning.nested_worth import worth_a_look
from brittle.compression.planning.search import Search, summed
from brittle.compression.planning.sensitivity import Cache, sensitivities
from brittle.compression.planning.trials import Assembly, Trials
from brittle.compression.removal import remove
from brittle.errors import UsageError
from brittle.models.tucker import TuckerLinear
from tests.compression.planned_nets import cnn, cnn_couplings, evidence

NESTED = (((Modes(12, 3, 4)), 12), ((Modes(8, 2, 4)), 0), ((Modes(4, 1, 4)), 3))
FC1 = Knob("modes", "fc1", (2560, 1116, 776, 200), (0, 1, 3), NESTED, (40, 64))
CONV2 = Knob("modes", "conv2", (1728, 624), (0, 1), ((Modes(4), 0),), (16, 12, 3, 3))
SMALL = Knobs(
    (Knob("units", "conv2", (16, 9, 4), (0, 1, 2)),),
    (Knob("ranks", "fc1", (40, 20, 9, 4), (0, 1, 2, 3)),),
    (FC1, CONV2),
)
COST = PlannedParameters(cnn(), cnn_couplings())


def _weights(name: str, plan: CompressionPlan) -> int:
    return sum(sum(sizes.weights().values()) for n, sizes in nestings(cnn(), plan).items() if n == name)


def test_sizes_are_weights_and_are_put_in_and_taken_out() -> None:
    for knob in (FC1, CONV2):
        for size in knob.sizes[1:]:
            plan = knob.turned(CompressionPlan(ranks={"conv1": 2, knob.name: 3}), size)
            assert knob.size(plan) == size == _weights(knob.name, plan)
            assert plan.ranks["conv1"] == 2
            assert knob.turned(plan, knob.whole) == CompressionPlan(ranks={"conv1": 2})
    plan = FC1.turned(CompressionPlan(), 1100)
    assert plan.modes == {"fc1": Modes(8, 2, 4)}, "the largest that is not above"
    assert plan.ranks == {}
    assert FC1.turned(plan, 10).modes == {"fc1": Modes(4, 1, 4)}
    assert len({knob.key(size) for knob in (FC1, CONV2) for size in knob.sizes}) == 6


def test_a_rank_alone_and_modes_take_each_others_place() -> None:
    (alone,) = SMALL.ranks
    plan = FC1.turned(alone.turned(CompressionPlan(), 9), 776)
    assert alone.size(plan) == 40
    assert FC1.size(plan) == 776
    plan = alone.turned(plan, 9)
    assert plan == CompressionPlan(ranks={"fc1": 9})
    assert FC1.size(plan) == FC1.whole


def _losses(seed: int) -> list[list[float]]:
    generator = torch.Generator().manual_seed(seed)
    steps = [torch.rand(len(knob.sizes) - 1, generator=generator) for knob in SMALL.all()]
    return [[0.0, *step.cumsum(0).tolist()] for step in steps]


def _plans() -> list[tuple[CompressionPlan, int]]:
    found = {}
    for rungs in product(*(range(len(knob.sizes)) for knob in SMALL.all())):
        plan = CompressionPlan()
        for knob, rung in zip(SMALL.all(), rungs, strict=True):
            plan = knob.turned(plan, knob.sizes[rung]) if rung else plan
        found[str(plan)] = plan
    return [(plan, COST(plan)) for plan in found.values() if _is_pure(plan)]


@cache
def _narrow(units: tuple[tuple[str, int], ...]) -> nn.Module:
    return remove(cnn(), {name: range(n) for name, n in units}, cnn_couplings())


def _is_pure(plan: CompressionPlan) -> bool:
    """Whether modes still save weights at the plan's widths: where they do not, the search leaves them out."""
    return set(nestings(_narrow(tuple(plan.units.items())), plan)) == set(plan.modes)


PLANS = _plans()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.15, 0.95))
def test_the_search_finds_the_best_of_all_plans(seed: int, share: float) -> None:
    losses = dict(zip(SMALL.all(), _losses(seed), strict=True))
    budget = int(share * parameters(cnn()))
    looking = Search(cnn(), cnn_couplings(), SMALL, losses, budget)
    within = [plan for plan, cost in PLANS if cost <= budget]
    if not within:
        with pytest.raises(UsageError):
            looking.best()
        return
    best = min(summed(SMALL, losses, plan) for plan in within)
    found = looking.best()[0]
    assert found.parameters == COST(found.plan) <= budget
    assert found.loss == pytest.approx(best)
    full = looking.filled(found)
    assert found.parameters <= full.parameters == COST(full.plan) <= budget
    assert full.loss <= found.loss + 1e-9


def test_ladders_hold_sizes_that_are_worth_a_look() -> None:
    model, found = cnn(), evidence(100)
    worth = worth_a_look(model, found)
    assert set(worth) == {"conv2", "fc1"}, "conv1 is too small, the head is behind no flatten"
    ladders = knobs(model, cnn_couplings(), 0.25, worth)
    assert [knob.name for knob in ladders.modes] == ["conv2", "fc1"]
    for knob in ladders.modes:
        assert list(knob.sizes) == sorted(set(knob.sizes), reverse=True)
        assert len(knob.nested) == len(knob.sizes) - 1
        assert knob.measured[0] == 0
        assert knob.measured[-1] == len(knob.sizes) - 1
        for size in knob.sizes[1:]:
            assert knob.size(knob.turned(CompressionPlan(), size)) == size
        assert all(b <= 0.85 * a for a, b in pairwise(knob.sizes))
    assert knobs(model, cnn_couplings(), 0.25).modes == ()


def test_layers_are_fitted_again_at_nested_sizes() -> None:
    x = evidence(240).x
    plan = CompressionPlan(ranks={"fc1": 12}, modes={"fc1": Modes(8, 3, 4), "conv2": Modes(7)})
    errors = {}
    for name, mend in (
        ("plain", METHODS["svd"].how.mend),
        ("data", METHODS["svd-data"].how.mend),
        ("fitted", Refitted(1e-4)),
    ):
        child = carry_out_with(cnn(), plan, mend, (), {}, x, seed=0)
        assert isinstance(child.fc1, TuckerLinear)
        assert child.fc1.core.first.weight.shape == (12, 24)
        with torch.no_grad():
            errors[name] = float((child(x) - cnn()(x)).square().mean())
    assert errors["fitted"] < errors["data"] < errors["plain"]


def test_fitting_keeps_the_mean_of_what_the_layer_said() -> None:
    x = evidence(240).x
    child = carry_out_with(cnn(), CompressionPlan(modes={"conv2": Modes(5)}), Refitted(rows_each=64), (), {}, x, seed=0)
    body, whole = (nn.Sequential(*list(net.children())[:3]) for net in (child, cnn()))
    with torch.no_grad():
        torch.testing.assert_close(body(x).mean((0, 2, 3)), whole(x).mean((0, 2, 3)), rtol=1e-3, atol=1e-3)


def test_candidates_with_modes_are_measured_and_trials_tell_them_apart() -> None:
    model, found = cnn(), evidence(60)
    board, cache = bench(model, found, batch_size=60), Cache()
    ladders = Knobs((), (), (FC1, CONV2))
    measured = sensitivities(model, cnn_couplings(), {}, ladders, board, found.x, cache, seed=0)
    losses = measured.added(FC1, lambda standing: standing.clean_loss)
    assert len(losses) == 4
    assert losses == tuple(sorted(losses))
    assert losses[-1] > 0
    trials = Trials(model, cnn_couplings(), found, board, 0.0, cache, 4)
    for modes in ({"fc1": Modes(8, 2, 4)}, {"fc1": Modes(4, 2, 4)}, {"fc1": Modes(8, 2, 4)}):
        trials.run(Assembly("same", CompressionPlan(modes=modes), Refitted(), {}))
    assert len(trials.done) == 2


def test_the_single_method_nests() -> None:
    found = evidence(200)
    done = compress_to(cnn(), "tucker-data", 0.485, found)
    assert done.plan.modes
    assert 0.97 * 0.485 * parameters(cnn()) <= parameters(done.model) <= 0.485 * parameters(cnn())
    svd = compress_to(cnn(), "svd-data", 0.5, found)
    board = bench(cnn(), evidence(600), batch_size=200)
    assert board.measure(done.model).clean_loss < board.measure(svd.model).clean_loss
