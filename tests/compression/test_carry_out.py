"""From plans to networks: every part of a plan, alone and together, and the original untouched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from brittle.compression.carry_out import How, carry_out, carry_out_with, saving_ranks
from brittle.compression.cost import parameters, planned_parameters
from brittle.compression.factorise import factorise
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.explained import explained
from brittle.compression.planning.mends import Refitted, data_aware, plain
from brittle.compression.quantise import round_weights
from brittle.compression.removal import remove
from brittle.compression.scores.magnitude import l1, l2
from brittle.compression.unstructured import sparsify
from brittle.compression.widths import kept_units
from brittle.errors import ModelError, UsageError
from brittle.models.file import load, save
from tests.compression.planned_nets import cnn, cnn_couplings, evidence

GIVEN = evidence(60)
WIDTHS = CompressionPlan(units={"conv1": 7, "fc1": 20})
BOTH = CompressionPlan(units={"conv1": 7, "conv2": 9, "fc1": 20}, ranks={"conv2": 4, "fc1": 5})


def test_widths_are_removed_by_score() -> None:
    model = cnn()
    child = carry_out(model, WIDTHS, How(l1), GIVEN)
    kept = kept_units(WIDTHS, l1(model, cnn_couplings(), None))
    assert torch.equal(child(GIVEN.x), remove(model, kept, cnn_couplings())(GIVEN.x))
    other = carry_out(model, WIDTHS, How(explained), GIVEN)
    assert not torch.equal(other(GIVEN.x), child(GIVEN.x)), "another score keeps others"


def test_ranks_are_cut_after_units_went() -> None:
    child = carry_out(cnn(), BOTH, How(l2), GIVEN)
    narrow = carry_out(cnn(), CompressionPlan(units=BOTH.units), How(l2), GIVEN)
    assert torch.allclose(child(GIVEN.x), factorise(narrow, BOTH.ranks)(GIVEN.x), atol=1e-6)


@pytest.mark.parametrize("mend", [plain, data_aware, Refitted()], ids=["plain", "data", "refitted"])
def test_every_mend_gives_the_planned_size_and_can_be_saved(mend: object, tmp_path: Path) -> None:
    model = cnn()
    before = [parameter.clone() for parameter in model.parameters()]
    child = carry_out(model, BOTH, How(l2, mend), GIVEN)  # type: ignore[arg-type]
    assert parameters(child) == planned_parameters(model, cnn_couplings(), BOTH)
    save(child, tmp_path / "child.safetensors")
    assert torch.equal(load(tmp_path / "child.safetensors")(GIVEN.x), child(GIVEN.x))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_densities_and_bits_come_last() -> None:
    plan = CompressionPlan(units={"fc1": 20}, densities={"conv2": 0.25}, bits=8)
    child = carry_out(cnn(), plan, How(l2), GIVEN)
    narrow = carry_out(cnn(), CompressionPlan(units={"fc1": 20}), How(l2), GIVEN)
    expected = round_weights(sparsify(narrow, {"conv2": 0.25}), 8)
    assert torch.equal(child(GIVEN.x), expected(GIVEN.x))
    assert int((child.conv2.weight == 0).sum()) >= 0.74 * child.conv2.weight.numel()


def test_an_empty_plan_is_a_copy() -> None:
    model = cnn()
    child = carry_out(model, CompressionPlan(), How(), GIVEN)
    assert child is not model
    assert torch.equal(child(GIVEN.x), model(GIVEN.x))


def test_ranks_that_save_nothing_leave_the_layer_dense() -> None:
    plan = CompressionPlan(units={"fc1": 5}, ranks={"fc1": 8, "conv2": 4})
    child = carry_out(cnn(), plan, How(), GIVEN)
    assert parameters(child) == planned_parameters(cnn(), cnn_couplings(), plan)
    assert type(child.fc1) is torch.nn.Linear
    assert saving_ranks(cnn(), {"fc1": 8, "conv2": 999, "head": 9, "conv1": 0}) == {"fc1": 8}


@pytest.mark.parametrize(
    ("plan", "kind", "message"),
    [
        (CompressionPlan(units={"conv9": 3}), UsageError, "no scores for coupling 'conv9'"),
        (CompressionPlan(units={"conv1": 0}), UsageError, "the plan keeps 0 of 12 units of 'conv1'"),
        (CompressionPlan(ranks={"nowhere": 3}), ModelError, "no dense layer or convolution 'nowhere'"),
        (CompressionPlan(densities={"conv1": 1.5}), UsageError, "the density of layer 'conv1'"),
        (CompressionPlan(bits=9), UsageError, "weights are rounded to 2 up to 8 bits, got 9"),
    ],
)
def test_plans_of_another_network_are_refused(plan: CompressionPlan, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        carry_out(cnn(), plan, How(), GIVEN)


def test_with_couplings_and_scores_given_nothing_is_looked_for() -> None:
    model = cnn()
    scores = l2(model, cnn_couplings(), None)
    child = carry_out_with(model, WIDTHS, plain, cnn_couplings(), scores, GIVEN.x, seed=0)
    assert torch.equal(child(GIVEN.x), carry_out(model, WIDTHS, How(l2), GIVEN)(GIVEN.x))
