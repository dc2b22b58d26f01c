"""Nesting layers of a network: the function, what is kept, the file, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from brittle.compression.carry_out import How, carry_out, carry_out_with, nestings
from brittle.compression.cost import PlannedParameters, parameters, planned_parameters
from brittle.compression.couplings.find import couplings
from brittle.compression.modes import Modes
from brittle.compression.moments import input_moments
from brittle.compression.nested import nest
from brittle.compression.nesting import Nesting, nesting
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.mends import data_aware
from brittle.compression.protocols import Evidence
from brittle.compression.scores.magnitude import l2
from brittle.errors import ModelError
from brittle.models.file import load, save
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.tucker import TuckerConv2d, TuckerLinear
from tests.compression.planned_nets import cnn, cnn_couplings, evidence

# conv2 12 -> 16 channels, 3 x 3; fc1 reads 16 channels of 2 x 2.
SIZES = {"fc1": Nesting((40, 16, 4), 6, 3, 10), "conv2": Nesting((16, 12, 9), 5, 0, 7)}


def test_layers_get_these_sizes_and_keep_all_else() -> None:
    model = cnn().double()
    child = nest(model, SIZES)
    assert isinstance(child.fc1, TuckerLinear)
    assert isinstance(child.conv2, TuckerConv2d)
    assert isinstance(child.fc1.core, LowRankLinear)
    assert isinstance(child.conv2.core, LowRankConv2d)
    assert child.fc1.core.first.weight.shape == (10, 18)
    assert child.conv2.core.first.weight.shape == (7, 5, 3, 3)
    assert all(p.dtype == torch.float64 and p.requires_grad for p in child.parameters())
    assert not any(module.training for module in child.modules())
    assert torch.equal(child.conv1.weight, model.conv1.weight)
    assert torch.equal(child.fc1.core.second.bias, model.fc1.bias), "without data the bias stays"
    assert isinstance(model.fc1, nn.Linear), "the model is left alone"


def test_as_many_mixtures_as_the_weights_hold_change_nothing() -> None:
    model = cnn().double()
    model.fc1.weight.data = torch.kron(torch.randn(40, 6).double(), torch.randn(1, 3).double()) @ torch.kron(
        torch.randn(6, 16).double(), torch.randn(3, 4).double()
    )
    child = nest(model, {"fc1": Nesting((40, 16, 4), 6, 3, 0)})
    x = evidence(20).x.double()
    torch.testing.assert_close(child(x), model(x))


def test_data_makes_the_outputs_nearer_and_keeps_their_mean() -> None:
    model, x = cnn().double(), evidence(200).x.double()
    moments = input_moments(model, list(SIZES), x, batch_size=100, positions=1000)
    errors = []
    for child in (nest(model, {"fc1": SIZES["fc1"]}), nest(model, {"fc1": SIZES["fc1"]}, moments=moments)):
        body = nn.Sequential(*list(child.children())[:-2])
        whole = nn.Sequential(*list(model.children())[:-2])
        errors.append(float((body(x) - whole(x)).detach().square().mean()))
    assert errors[1] < 0.8 * errors[0]
    torch.testing.assert_close(body(x).mean(0), whole(x).mean(0), rtol=1e-9, atol=1e-9)
    first = nn.Sequential(*list(nest(model, {"conv2": SIZES["conv2"]}, moments=moments).children())[:3])
    torch.testing.assert_close(first(x).mean((0, 2, 3)), nn.Sequential(*list(model.children())[:3])(x).mean((0, 2, 3)))


def test_a_nested_child_of_narrower_layers_is_saved_and_has_the_planned_size(tmp_path: Path) -> None:
    plan = CompressionPlan(
        units={"conv2": 11, "fc1": 30}, ranks={"fc1": 9}, modes={"fc1": Modes(6, 3, 4), "conv2": Modes(7)}
    )
    child = carry_out(cnn(), plan, How(l2, data_aware), evidence(100))
    assert parameters(child) == planned_parameters(cnn(), cnn_couplings(), plan)
    assert child.fc1.modes == (11, 4)
    save(child, tmp_path / "child.safetensors")
    x = evidence(10).x
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "child.safetensors")(x), child(x))


@pytest.mark.parametrize("seed", range(12))
def test_plans_with_modes_cost_what_their_children_have(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(high: int) -> int:
        return int(torch.randint(0, high + 1, (), generator=generator))

    plan = CompressionPlan(
        units={c.name: max(1, draw(c.units)) for c in cnn_couplings()},
        ranks={"fc1": draw(40), "conv2": draw(12), "conv1": draw(5)},
        modes={"fc1": Modes(draw(17), draw(5), 4), "conv2": Modes(draw(13))},
    )
    some = Evidence(torch.rand(4, 1, 8, 8), torch.zeros(4).long(), None, 0)
    child = carry_out(cnn(), plan, How(), some)
    assert parameters(child) == planned_parameters(cnn(), cnn_couplings(), plan)


def test_densities_may_name_the_parts_of_a_nested_layer() -> None:
    plan = CompressionPlan(modes={"fc1": Modes(6, 3, 4)}, ranks={"fc1": 9})
    sparse = CompressionPlan(
        modes=plan.modes, ranks=plan.ranks, densities={"fc1.core.first": 0.5, "fc1.positions": 0.5}
    )
    cost = PlannedParameters(cnn(), cnn_couplings())
    assert cost(plan) - cost(sparse) == 9 * 18 // 2 + 12 // 2
    child = carry_out(cnn(), sparse, How(), evidence(10))
    assert sum(int(p.count_nonzero()) for p in child.fc1.core.first.parameters()) == 81


def test_modes_that_save_nothing_leave_the_layer_to_its_rank() -> None:
    plan = CompressionPlan(ranks={"fc1": 5}, modes={"fc1": Modes(16, 4, 4)})
    assert nestings(cnn(), plan) == {}
    child = carry_out_with(cnn(), plan, data_aware, (), {}, evidence(50).x, seed=0)
    assert isinstance(child.fc1, LowRankLinear)
    assert parameters(child) == planned_parameters(cnn(), (), plan)


def test_a_nested_child_can_be_made_smaller_again(tmp_path: Path) -> None:
    child = nest(cnn(), SIZES)
    x = evidence(20)
    found = couplings(child, x.x[:2])
    plan = CompressionPlan(units={c.name: (c.units + 1) // 2 for c in found}, ranks={"fc1.core": 4, "conv2.core": 3})
    again = carry_out(child, plan, How(), x)
    assert parameters(again) == planned_parameters(child, found, plan) < parameters(child)
    save(again, tmp_path / "again.safetensors")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "again.safetensors")(x.x), again(x.x))


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        ({"fc9": Modes(2)}, "no dense layer or convolution 'fc9' to nest"),
        ({"fc1": Modes(2, 2, 7)}, "no channels of 7 positions"),
        ({"fc1": Modes(2, 2, 0)}, "no channels of 0 positions"),
        ({"fc1": Modes(-1, 2, 4)}, "must be at least 0"),
    ],
)
def test_modes_of_no_layer_are_refused(modes: dict[str, Modes], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        carry_out(cnn(), CompressionPlan(modes=modes), How(), evidence(10))


def test_pairs_tied_and_broken_layers_and_other_shapes_are_refused() -> None:
    model = cnn()
    with pytest.raises(ModelError, match="nested sizes are for"):
        nest(model, {"fc1": Nesting((40, 5, 4), 3, 0, 0)})
    other = input_moments(build_small(), ["0"], torch.rand(4, 12), batch_size=4)["0"]
    with pytest.raises(ModelError, match="moment is of 12"):
        nest(model, {"conv2": SIZES["conv2"]}, moments={"conv2": other})
    model.fc1.weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match="NaN"):
        nest(model, {"fc1": SIZES["fc1"]})
    model = cnn()
    model.fc1 = LowRankLinear(64, 40, 5)
    with pytest.raises(ModelError, match="'fc1' to nest: expected one of conv1, conv2, head"):
        nest(model, {"fc1": SIZES["fc1"]})
    model = cnn()
    model.conv2.weight = nn.Parameter(model.conv2.weight)
    model.other = nn.Conv2d(12, 16, 3)
    model.other.weight = model.conv2.weight
    with pytest.raises(ModelError, match="shares its weights"):
        nest(model, {"conv2": SIZES["conv2"]})


def build_small() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 3), nn.Linear(3, 2))


def test_bias_free_layers_are_fitted_through_the_origin() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 9, bias=False), nn.Linear(9, 3)).double()
    x = torch.rand(50, 6, 4, dtype=torch.float64) + 1
    moments = input_moments(model, ["1"], x, batch_size=50)
    wanted = nesting((9, 24), Modes(3, 2, 4), 0)
    assert wanted is not None
    child = nest(model, {"1": wanted}, moments=moments)
    assert child[1].core.bias is None
    plain = nest(model, {"1": wanted})
    gaps = [float((net[1](x.flatten(1)) - model[1](x.flatten(1))).square().mean()) for net in (child, plain)]
    assert gaps[0] < gaps[1]
