"""The search over widths and ranks: exact sizes, the budget, and every plan of small ladders for comparison."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.compression.carry_out import How, carry_out
from brittle.compression.cost import PlannedParameters, parameters
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.knobs import Knob, Knobs, knobs
from brittle.compression.planning.search import Search, summed
from brittle.compression.protocols import Evidence
from brittle.errors import UsageError
from tests.compression.planned_nets import cnn, cnn_couplings

SMALL = Knobs(
    (Knob("units", "conv1", (12, 7, 3), (0, 1, 2)), Knob("units", "conv2", (16, 9, 4), (0, 1, 2))),
    (Knob("ranks", "conv2", (16, 8, 3), (0, 1, 2)), Knob("ranks", "fc1", (40, 20, 9, 4), (0, 1, 2, 3))),
)


COST = PlannedParameters(cnn(), cnn_couplings())
PLANS = {}
for _rungs in product(*(range(len(knob.sizes)) for knob in SMALL.all())):
    _plan = CompressionPlan()
    for _knob, _rung in zip(SMALL.all(), _rungs, strict=True):
        _plan = _knob.turned(_plan, _knob.sizes[_rung])
    PLANS[_rungs] = COST(_plan)


def search(ladders: Knobs, losses: list[list[float]], budget: int) -> Search:
    return Search(cnn(), cnn_couplings(), ladders, dict(zip(ladders.all(), losses, strict=True)), budget)


def random_losses(ladders: Knobs, seed: int) -> list[list[float]]:
    generator = torch.Generator().manual_seed(seed)
    steps = [torch.rand(len(knob.sizes) - 1, generator=generator) for knob in ladders.all()]
    return [[0.0, *step.cumsum(0).tolist()] for step in steps]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.15, 0.95))
def test_on_small_ladders_it_finds_the_best_of_all_plans(seed: int, share: float) -> None:
    losses = random_losses(SMALL, seed)
    budget = int(share * parameters(cnn()))
    within = [rungs for rungs, cost in PLANS.items() if cost <= budget]
    best = min((sum(loss[rung] for loss, rung in zip(losses, rungs, strict=True)) for rungs in within), default=None)
    looking = search(SMALL, losses, budget)
    if best is None:
        with pytest.raises(UsageError, match=f"no plan has at most {budget} parameters"):
            looking.best()
        return
    found = looking.best()[0]
    assert found.loss == pytest.approx(best)
    assert found.gap == 0
    assert found.loss == pytest.approx(looking.predicted(found.plan))


@pytest.mark.parametrize("keep", [0.5, 0.2])
def test_sizes_are_exact_and_filled_plans_spend_the_budget(keep: float) -> None:
    ladders = knobs(cnn(), cnn_couplings(), keep)
    whole = parameters(cnn())
    looking = search(ladders, random_losses(ladders, 1), int(keep * whole))
    for found in looking.best(4, apart=2):
        full = looking.filled(found)
        for some in (found, full):
            assert some.parameters == COST(some.plan) <= keep * whole
        assert full.parameters >= 0.97 * keep * whole
        assert full.loss <= found.loss + 1e-9
        assert full.loss == pytest.approx(summed(ladders, looking.losses, full.plan))
        child = carry_out(cnn(), full.plan, How(), Evidence(torch.rand(4, 1, 8, 8), torch.zeros(4).long(), None, 0))
        assert parameters(child) == full.parameters


def test_the_best_plans_lie_apart_and_are_in_order() -> None:
    ladders = knobs(cnn(), cnn_couplings(), 0.3)
    found = search(ladders, random_losses(ladders, 2), int(0.3 * parameters(cnn()))).best(5, apart=4)
    rungs = [[knob.sizes.index(knob.size(f.plan)) for knob in ladders.units] for f in found]
    assert [f.loss for f in found] == sorted(f.loss for f in found)
    assert len(found) == 5
    for i, one in enumerate(rungs):
        assert all(sum(abs(a - b) for a, b in zip(one, other, strict=True)) >= 4 for other in rungs[:i])


def test_neighbours_fit_the_budget_and_differ_in_one_or_two_widths() -> None:
    ladders = knobs(cnn(), cnn_couplings(), 0.3)
    looking = search(ladders, random_losses(ladders, 3), int(0.3 * parameters(cnn())))
    plan = looking.best()[0].plan
    near = looking.neighbours(plan)
    assert near
    for found in near:
        assert found.parameters <= looking.budget
        moved = [knob for knob in ladders.units if knob.size(found.plan) != knob.size(plan)]
        assert 1 <= len(moved) <= 2
    assert [f.loss for f in near] == sorted(f.loss for f in near)


def test_without_units_only_ranks_are_chosen() -> None:
    ladders = Knobs((), SMALL.ranks)
    model = cnn()
    losses = dict(zip(ladders.all(), [[0.0, 1.0, 2.0], [0.0, 0.1, 0.2, 0.3]], strict=True))
    found = Search(model, (), ladders, losses, parameters(model) - 1).best()[0]
    assert found.plan == CompressionPlan(ranks={"fc1": 20})
