"""Families of widths: their formulas, and that more knob is never less."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brittle.compression.plan import CompressionPlan
from brittle.compression.protocols import Family
from brittle.compression.scores.magnitude import l2
from brittle.compression.widths import eps_widths, global_widths, kept_units, uniform_widths
from brittle.errors import ModelError, UsageError
from tests.compression.coupled_nets import case

NET = case("resnet, projected")
UNITS = {c.name: c.units for c in NET.couplings}
FAMILIES: dict[str, Callable[[], Family]] = {
    "uniform": lambda: uniform_widths(NET.couplings),
    "global": lambda: global_widths(NET.couplings, l2(NET.model, NET.couplings, None)),
    "eps": lambda: eps_widths(NET.model, NET.couplings),
}


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(a=st.floats(0, 1), b=st.floats(0, 1))
def test_more_knob_never_keeps_less(name: str, a: float, b: float) -> None:
    family = FAMILIES[name]()
    low, high = family(min(a, b)).units, family(max(a, b)).units
    assert set(low) == set(high) == set(UNITS)
    assert all(1 <= low[k] <= high[k] <= UNITS[k] for k in UNITS)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ends_of_the_knob(name: str) -> None:
    family = FAMILIES[name]()
    assert family(1.0).units == UNITS
    assert set(family(0.0).units.values()) == {1}
    for knob in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match=r"the knob of a family of plans is in \[0, 1\]"):
            family(knob)


def test_uniform_widths_are_the_same_share() -> None:
    plan = uniform_widths(NET.couplings)(0.3)
    assert plan == CompressionPlan(
        units={k: max(1, int(Fraction(3, 10) * u + Fraction(1, 2))) for k, u in UNITS.items()}
    )


def test_a_global_threshold_keeps_the_largest_scores_over_their_mean() -> None:
    scores = l2(NET.model, NET.couplings, None)
    ranked = sorted(
        ((float(s / scores[k].mean()), k) for k in scores for s in sorted(scores[k], reverse=True)[1:]), reverse=True
    )
    family = global_widths(NET.couplings, scores)
    for share in (0.25, 0.5):
        taken = [k for _, k in ranked[: round(share * len(ranked))]]
        assert family(share).units == {k: 1 + taken.count(k) for k in UNITS}


def test_a_global_threshold_leaves_a_twentieth_of_each_coupling() -> None:
    net = case("torchvision resnet18")
    scores = {c.name: torch.full((c.units,), 1.0 + i) for i, c in enumerate(net.couplings)}
    plan = global_widths(net.couplings, scores)(0.0)
    assert plan.units["conv1"] == 4  # of 64, 3.2 rounded up
    assert plan.units["layer4.0.conv1"] == 26


def test_scores_that_are_all_zero_are_no_reason_to_fail() -> None:
    zero = {k: torch.zeros(u) for k, u in UNITS.items()}
    assert sum(global_widths(NET.couplings, zero)(0.5).units.values()) > len(UNITS)


def test_eps_widths_are_the_fewest_units_with_a_common_residual() -> None:
    family = eps_widths(NET.model, NET.couplings)
    for coupling in NET.couplings:
        rows = torch.zeros(coupling.units, dtype=torch.float64)
        for member in coupling.members:
            weight = NET.model.get_submodule(member.module).weight
            if member.side == "out" and weight.dim() > 1:
                rows += weight.detach().abs().flatten(1).sum(1)
        ordered = sorted(rows.tolist())
        for epsilon in (0.1, 0.3, 0.5, 0.7, 0.9):
            most = epsilon * sum(ordered)
            fewest = next(k for k in range(len(ordered) + 1) if sum(ordered[: len(ordered) - k]) <= most)
            assert family(1 - epsilon).units[coupling.name] == max(1, fewest)


def test_eps_widths_keep_zero_units_only_at_the_end_of_the_knob() -> None:
    net = case("mlp")
    model = copy.deepcopy(net.model)
    with torch.no_grad():
        model.fc1.weight[[0, 5]] = 0
    family = eps_widths(model, net.couplings)
    assert family(1.0).units == {"fc1": 12, "fc2": 9}
    assert family(1 - 1e-9).units == {"fc1": 10, "fc2": 9}


def test_the_best_units_stay_and_the_first_of_equal_ones() -> None:
    plan = CompressionPlan(units={"a": 2, "b": 3})
    scores = {"a": torch.tensor([0.0, 3.0, 1.0, 2.0]), "b": torch.ones(5), "c": torch.ones(2)}
    assert kept_units(plan, scores) == {"a": (1, 3), "b": (0, 1, 2)}


def test_refusals() -> None:
    for family in (uniform_widths, lambda c: global_widths(c, {}), lambda c: eps_widths(NET.model, c)):
        with pytest.raises(ModelError, match="no channels, neurons or heads that can be removed: choose a method"):
            family(())
    fine = {k: torch.ones(u) for k, u in UNITS.items()}

    def wrong(score: Tensor | None) -> dict[str, Tensor]:
        return {k: v for k, v in fine.items() if k != "conv1"} | ({} if score is None else {"conv1": score})

    for score, message in (
        (None, "coupling 'conv1' needs 4 scores, got none: score the couplings of this model"),
        (torch.ones(3), r"coupling 'conv1' needs 4 scores, got shape \(3,\)"),
        (-torch.ones(4), "scores of coupling 'conv1' must be finite and at least 0"),
        (torch.full((4,), torch.nan), "scores of coupling 'conv1' must be finite and at least 0"),
    ):
        with pytest.raises(UsageError, match=message):
            global_widths(NET.couplings, wrong(score))
    for count, scores, message in (
        (1, {}, "no scores for coupling 'a': score all couplings that the plan names"),
        (1, {"a": torch.tensor([torch.inf])}, "scores of coupling 'a' hold NaN or infinity"),
        (3, {"a": torch.ones(2)}, "the plan keeps 3 of 2 units of 'a': keep 1 to 2"),
        (0, {"a": torch.ones(2)}, "the plan keeps 0 of 2 units of 'a'"),
    ):
        with pytest.raises(UsageError, match=message):
            kept_units(CompressionPlan(units={"a": count}), scores)
