"""Ladders: what can be turned, and how far down."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.compression.cost import planned_parameters
from brittle.compression.factorise import factorise
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.knobs import CANDIDATES, RUNGS, Knob, knobs
from brittle.models.recipe import Recipe, build
from tests.compression.planned_nets import cnn, cnn_couplings


@settings(max_examples=20, deadline=None)
@given(keep=st.floats(0.01, 1))
def test_ladders_fall_from_the_whole_and_every_size_but_the_whole_saves(keep: float) -> None:
    model, couplings = cnn(), cnn_couplings()
    ladders = knobs(model, couplings, keep)
    assert [knob.name for knob in ladders.units] == ["conv1", "conv2", "fc1"]
    assert [knob.name for knob in ladders.ranks] == ["conv1", "conv2", "fc1"], "the head is not cut"
    whole = planned_parameters(model, couplings, CompressionPlan())
    for knob in ladders.all():
        assert list(knob.sizes) == sorted(set(knob.sizes), reverse=True)
        assert knob.sizes[-1] >= 1
        assert knob.measured[0] == 0
        assert knob.measured[-1] == len(knob.sizes) - 1
        assert len(knob.measured) <= RUNGS + 1
        costs = [planned_parameters(model, couplings, knob.turned(CompressionPlan(), size)) for size in knob.sizes]
        assert costs[0] == whole
        assert costs == sorted(set(costs), reverse=True)


def test_a_smaller_keep_reaches_further_down() -> None:
    ends = [[k.sizes[-1] for k in knobs(cnn(), cnn_couplings(), keep).all()] for keep in (0.5, 0.05)]
    assert all(small < large for large, small in zip(*ends, strict=True))


def test_a_size_is_put_into_a_plan_and_the_whole_taken_out() -> None:
    knob = Knob("ranks", "fc1", (40, 9, 3), (0, 2))
    plan = CompressionPlan(units={"fc1": 7}, ranks={"fc1": 9, "conv1": 2})
    assert knob.size(plan) == 9
    assert knob.size(CompressionPlan(ranks={"fc1": 0})) == 40
    assert knob.turned(plan, 3) == CompressionPlan(units={"fc1": 7}, ranks={"conv1": 2, "fc1": 3})
    assert knob.turned(plan, 40) == CompressionPlan(units={"fc1": 7}, ranks={"conv1": 2})


def test_candidates_are_the_measured_sizes_but_the_whole() -> None:
    ladders = knobs(cnn(), cnn_couplings(), 0.25)
    expected = [(knob, knob.sizes[i]) for knob in ladders.all() for i in knob.measured if i]
    assert list(ladders.candidates()) == expected


def test_a_network_with_many_layers_has_few_rungs_on_each() -> None:
    deep = build(Recipe("mlp", (1, 8, 8), 10, {"width": 32, "depth": 30}), seed=0)
    ladders = knobs(deep, (), 0.1)
    assert len(ladders.all()) == 30
    assert len(ladders.candidates()) <= CANDIDATES
    assert all(len(knob.measured) >= 3 for knob in ladders.ranks)


def test_pairs_are_left_as_they_are() -> None:
    model = factorise(cnn(), {"fc1": 6})
    assert "fc1" not in [knob.name for knob in knobs(model, (), 0.25).ranks]
