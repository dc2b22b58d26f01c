"""Low-rank layers as matrices: products, cores with exact gradients, writing; and the condition penalty on the core."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.training.added import Added, seen_by
from brittle.training.cores import LowRank, core_of, product_of
from brittle.training.engine import train
from brittle.training.ensemble.engine import train_ensemble
from brittle.training.matrices import StructureMatrix, structure_matrices
from brittle.training.penalties import PENALTIES
from brittle.training.plan import Dynamics, Plan, Weighted
from tests.training.toys import digits


def layers() -> list[LowRank]:
    torch.manual_seed(0)
    return [
        LowRankLinear(9, 7, 3).double(),
        LowRankConv2d(4, 6, 3, 2).double(),
        LowRankConv2dIn(5, 4, 3, 3).double(),
    ]


def dense(layer: LowRank) -> Tensor:
    """The kernel from the layer's answers to impulses: (h, d)."""
    if isinstance(layer, LowRankLinear):
        eye = torch.eye(layer.first.in_features, dtype=torch.float64)
        return (layer(eye) - layer.second.bias).T
    channels = layer.first.in_channels
    eye = torch.eye(channels * 9, dtype=torch.float64).view(-1, channels, 3, 3)
    return (layer(eye) - layer.second.bias[:, None, None]).flatten(1).T


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_the_product_is_the_layers_matrix(layer: LowRank) -> None:
    torch.testing.assert_close(product_of(layer), dense(layer))
    matrix = StructureMatrix("x", layer)
    torch.testing.assert_close(matrix.tensor(), dense(layer))
    assert matrix.frobenius() == pytest.approx(float(dense(layer).detach().norm()), rel=1e-6)


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_what_is_written_is_read(layer: LowRank) -> None:
    matrix = StructureMatrix("x", layer)
    wanted = 3 * matrix.tensor().detach()
    with torch.no_grad():
        layer.first.weight.normal_()
    matrix.write(wanted)
    torch.testing.assert_close(matrix.tensor(), wanted)
    matrix.rescale(0.5)
    torch.testing.assert_close(matrix.tensor(), wanted / 2)


def unfolded(layer: LowRank, weight: Tensor) -> Tensor:
    """As the layer's two factors see it."""
    if isinstance(layer, LowRankConv2dIn):
        return weight.unflatten(1, (layer.first.in_channels, 9)).movedim(1, 0).reshape(layer.first.in_channels, -1)
    return weight


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_the_core_has_the_singular_values(layer: LowRank) -> None:
    rank = len(layer.first.weight)
    values = torch.linalg.svdvals(unfolded(layer, dense(layer)))
    torch.testing.assert_close(torch.linalg.svdvals(core_of(layer)), values[:rank])


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("name", ["condition", "orthonormality"])
def test_gradients_through_the_core_are_those_of_the_singular_values(name: str, layer: LowRank) -> None:
    """Against the formula in singular values by central differences: U and V, held in the core, move there."""
    rank = len(layer.first.weight)

    def formula() -> float:
        squares = torch.linalg.svdvals(unfolded(layer, dense(layer)).detach())[:rank] ** 2
        centre = squares.mean() if name == "condition" else 1.0
        total = float(((squares - centre) ** 2).sum())
        return total**0.5 if name == "condition" else total

    value = PENALTIES[name].start()([core_of(layer)])
    assert float(value.detach()) == pytest.approx(formula(), rel=1e-9)
    parameters = [layer.first.weight, layer.second.weight]
    gradients = torch.autograd.grad(value, parameters)
    steps = [torch.randn(p.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) for p in parameters]

    def moved(size: float) -> float:
        with torch.no_grad():
            for p, step in zip(parameters, steps, strict=True):
                p += size * step
            found = formula()
            for p, step in zip(parameters, steps, strict=True):
                p -= size * step
        return found

    expected = (moved(1e-6) - moved(-1e-6)) / 2e-6
    assert sum(float((g * s).sum()) for g, s in zip(gradients, steps, strict=True)) == pytest.approx(expected, rel=1e-5)


def test_a_zero_factor_has_a_core_and_finite_gradients() -> None:
    layer = LowRankLinear(6, 5, 2)
    nn.init.zeros_(layer.second.weight)
    value = PENALTIES["condition"].value([core_of(layer)])
    assert float(value) == 0
    gradients = torch.autograd.grad(value, [layer.first.weight, layer.second.weight])
    assert all(bool(g.isfinite().all()) for g in gradients)


def even_pair() -> nn.Module:
    """A low-rank layer whose three values are alike, and a head."""
    torch.manual_seed(0)
    pair = LowRankLinear(64, 12, 3)
    with torch.no_grad():
        pair.first.weight.copy_(2 * torch.linalg.qr(torch.randn(64, 3)).Q.T)
        pair.second.weight.copy_(torch.linalg.qr(torch.randn(12, 3)).Q)
    return nn.Sequential(nn.Flatten(), pair, nn.ReLU(), nn.Linear(12, 10))


def test_the_condition_penalty_is_zero_for_a_well_conditioned_pair_only_through_its_core() -> None:
    model = even_pair()
    (pair, _) = structure_matrices(model)
    penalty = PENALTIES["condition"]
    assert float(penalty.value([pair.core()])) == pytest.approx(0, abs=1e-5)
    assert float(penalty.value([pair.tensor()])) > 1, "the nine zeros beyond the rank would pull the others down"
    plan = Plan(Dynamics(1), penalties=(Weighted("condition", 1.0), Weighted("l1", 1.0)), layers=("1",))
    added = Added(model, plan)
    whole = float(pair.tensor().abs().sum())
    assert added.values() == {"condition": pytest.approx(0, abs=1e-5), "l1": pytest.approx(whole)}
    loss = added.loss()
    assert loss is not None
    assert float(loss) == pytest.approx(whole, rel=1e-5)


def test_each_penalty_is_given_what_it_is_a_function_of() -> None:
    (pair, head) = structure_matrices(even_pair())
    first, second = seen_by([PENALTIES["orthonormality"], PENALTIES["nuclear"]], [pair, head])
    assert [tuple(w.shape) for w in first] == [(3, 3), (10, 12)]
    assert [tuple(w.shape) for w in second] == [(12, 64), (10, 12)]
    assert seen_by([], [pair]) == []


def test_an_ensemble_adds_the_same() -> None:
    plan = Plan(Dynamics(2, 40, learning_rate=1e-2), penalties=(Weighted("condition", 0.1), Weighted("l1", 1e-4)))

    def nets() -> list[nn.Module]:
        return [even_pair().double(), even_pair().double()]

    def with_layers(plan: Plan) -> Plan:
        return Plan(plan.dynamics, penalties=plan.penalties, layers=("1",))

    together = train_ensemble(nets(), *digits(80), [with_layers(plan)] * 2, (0, 1))
    alone = train(nets()[1], *digits(80), with_layers(plan), seed=1)
    assert together[1].history.rows[-1].penalties == pytest.approx(alone.history.rows[-1].penalties, rel=1e-8)
    for a, b in zip(together[1].model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_convolution_pair_of_the_second_kind_is_one_layer() -> None:
    model = nn.Sequential(LowRankConv2dIn(3, 4, 3, 2), LowRankConv2d(4, 4, 3, 2), nn.Flatten(), nn.Linear(4, 2))
    assert [matrix.name for matrix in structure_matrices(model)] == ["0", "1", "3"]
    assert [tuple(matrix.tensor().shape) for matrix in structure_matrices(model)] == [(4, 27), (4, 36), (2, 4)]
