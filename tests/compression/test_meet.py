"""Meeting a size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.compression.cost import PlannedParameters
from brittle.compression.meet import meet
from brittle.compression.plan import CompressionPlan
from brittle.compression.protocols import Family
from brittle.compression.ranks import energy_ranks, eps_ranks, uniform_ranks
from brittle.compression.scores.magnitude import l2
from brittle.compression.unstructured import uniform_densities
from brittle.compression.widths import eps_widths, global_widths, uniform_widths
from brittle.errors import UsageError
from tests.compression.coupled_nets import Case, case

WIDTHS: dict[str, Callable[[Case], Family]] = {
    "uniform": lambda net: uniform_widths(net.couplings),
    "global": lambda net: global_widths(net.couplings, l2(net.model, net.couplings, None)),
    "eps": lambda net: eps_widths(net.model, net.couplings),
}


@cache
def prepared(name: str) -> tuple[Family, PlannedParameters]:
    """A family of widths of a net with many couplings, and what its plans cost."""
    net = case("torchvision mobilenet_v2")
    return WIDTHS[name](net), PlannedParameters(net.model, net.couplings)


CNN = case("cnn")
CNN_COST = PlannedParameters(CNN.model, CNN.couplings)
RANKS = {"uniform": uniform_ranks(CNN.model), "eps": eps_ranks(CNN.model), "energy": energy_ranks(CNN.model)}


@pytest.mark.parametrize("name", WIDTHS)
@settings(max_examples=25, deadline=None)
@given(keep=st.floats(0.2, 1))
def test_widths_come_within_three_per_cent(name: str, keep: float) -> None:
    family, cost = prepared(name)
    wanted = keep * cost(CompressionPlan())
    assert 0.97 * wanted <= cost(meet(family, cost, wanted)) <= wanted


@pytest.mark.parametrize("name", RANKS)
@settings(max_examples=25, deadline=None)
@given(keep=st.floats(0.5, 1))
def test_ranks_come_as_near_as_one_rank_allows(name: str, keep: float) -> None:
    wanted = keep * CNN_COST(CompressionPlan())
    plan = meet(RANKS[name], CNN_COST, wanted, tolerance=0.15)
    assert 0.85 * wanted <= CNN_COST(plan) <= wanted
    for layer, rank in plan.ranks.items():  # ranks stay below those at which a pair is no gain
        assert CNN_COST(CompressionPlan(ranks={layer: rank})) < CNN_COST(CompressionPlan())


def test_the_largest_plan_of_the_family_where_its_steps_are_fine() -> None:
    family = global_widths(CNN.couplings, l2(CNN.model, CNN.couplings, None))
    sizes = [CNN_COST(family(i / 500)) for i in range(501)]
    for keep in (0.3, 0.55, 0.8):
        wanted = keep * CNN_COST(CompressionPlan())
        assert CNN_COST(meet(family, CNN_COST, wanted, tolerance=0.5)) == max(s for s in sizes if s <= wanted)
    for size in sizes[::100]:
        assert CNN_COST(meet(family, CNN_COST, size, tolerance=0.5)) == size


def test_a_coarse_family_is_filled_unit_by_unit() -> None:
    def coarse(knob: float) -> CompressionPlan:
        width = 10 if knob < 0.5 else 20
        return CompressionPlan(units={"a": width, "b": width}, ranks={"c": 5 if knob < 0.5 else 9})

    def cost(plan: CompressionPlan) -> int:
        return 100 * plan.units["a"] + 10 * plan.units["b"] + plan.ranks["c"]

    assert meet(coarse, cost, 1109, tolerance=0.5) == coarse(0.0)  # near enough as it is
    for wanted in range(1105, 2210, 13):
        assert 0.97 * wanted <= cost(meet(coarse, cost, wanted)) <= wanted
    assert meet(coarse, cost, 2209) == coarse(1.0)


def test_a_layer_that_the_next_plan_leaves_dense_gains_ranks_or_becomes_dense() -> None:
    def family(knob: float) -> CompressionPlan:
        return CompressionPlan(ranks={"a": 2, "b": 3}) if knob < 1 else CompressionPlan()

    def cost(plan: CompressionPlan) -> int:  # dense layers of 100 and 60
        return min(100, 9 * plan.ranks.get("a", 99)) + min(60, 7 * plan.ranks.get("b", 99))

    assert meet(family, cost, 77).ranks == {"a": 6, "b": 3}
    assert meet(family, cost, 122).ranks == {"b": 3}  # a is dense: 100 + 21, and one rank more of b is too much
    assert meet(family, cost, 143).ranks == {"b": 6}
    assert meet(family, cost, 160).ranks == {}


def test_densities_move_as_well() -> None:
    family = uniform_densities(CNN.model)
    wanted = 0.4 * CNN_COST(CompressionPlan())
    assert 0.99 * wanted <= CNN_COST(meet(family, CNN_COST, wanted)) <= wanted


def test_everything_is_a_size_too() -> None:
    whole = CNN_COST(CompressionPlan())
    assert meet(uniform_widths(CNN.couplings), CNN_COST, whole).units == {c.name: c.units for c in CNN.couplings}


@pytest.mark.parametrize("keep", [0.0, -1.0, 1.2, float("nan"), float("inf")])
def test_impossible_sizes_say_what_is_possible(keep: float) -> None:
    whole, least = CNN_COST(CompressionPlan()), CNN_COST(CompressionPlan(units={c.name: 1 for c in CNN.couplings}))
    with pytest.raises(UsageError, match=f"cannot be reached: this method goes from {least} to {whole}, choose a size"):
        meet(uniform_widths(CNN.couplings), CNN_COST, keep * whole)


def test_a_size_between_steps_names_both_neighbours() -> None:
    def family(knob: float) -> CompressionPlan:
        return CompressionPlan(units={"a": 1 if knob < 1 else 2})

    with pytest.raises(UsageError, match="15 cannot be met within 3%: the nearest this method reaches are 10 and 20"):
        meet(family, lambda plan: 10 * plan.units["a"], 15)
    assert meet(family, lambda plan: 10 * plan.units["a"], 15, tolerance=0.4).units == {"a": 1}


def test_a_family_that_cannot_shrink() -> None:
    with pytest.raises(UsageError, match="a size of 5 cannot be reached: this method goes from 7 to 7"):
        meet(lambda knob: CompressionPlan(), lambda plan: 7, 5)
