"""Low-rank copies: the function at full rank, Eckart and Young below it, and a recipe that can be saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from brittle.compression.factorise import factorise, truncated
from brittle.compression.moments import input_moments
from brittle.compression.pairs import kernel, low_rank_layers, rank_of
from brittle.compression.unfoldings import CHANNELS, FILTERS, UNFOLDINGS, cheaper, full_rank
from brittle.errors import ModelError
from brittle.models.file import load, save
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.models.recipe import Recipe, build, recipe_of
from tests.compression.low_rank_cases import CONVOLUTIONS, dense, normal

ZOO = {
    "mlp": Recipe("mlp", (1, 4, 4), 5, {"width": 12, "depth": 2}),
    "mlp, normalised": Recipe("mlp", (1, 4, 4), 5, {"width": 12}, (0.5,), (0.25,)),
    "cnn": Recipe("cnn", (2, 8, 8), 5, {"channels": [4, 6], "fc": [9]}),
    "resnet": Recipe("resnet", (3, 8, 8), 5, {"depth": 8, "width": 4}),
    "resnet, projections": Recipe("resnet", (3, 8, 8), 5, {"depth": 8, "width": 4, "shortcut": "conv"}),
}


def pixels(recipe: Recipe) -> Tensor:
    return torch.rand(6, *recipe.input_shape, generator=torch.Generator().manual_seed(0))


def ranks(model: nn.Module) -> dict[str, int]:
    return {name: rank_of(pair) for name, pair in low_rank_layers(model).items()}


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Dense layers and convolutions as matrices."""
    return {
        name: module.weight.detach().flatten(1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


@pytest.mark.parametrize("name", ZOO)
def test_at_full_rank_the_function_stays(name: str) -> None:
    model = build(ZOO[name], seed=1)
    child = factorise(model, {layer: full_rank(model.get_submodule(layer), FILTERS) for layer in weights(model)})
    x = pixels(ZOO[name])
    assert torch.allclose(child(x), model(x), atol=1e-5)


@pytest.mark.parametrize("name", ZOO)
def test_every_layer_can_be_saved_and_loaded_at_low_rank(name: str, tmp_path: Path) -> None:
    model = build(ZOO[name], seed=1)
    child = factorise(model, dict.fromkeys(weights(model), 1))
    assert list(ranks(child)) == list(weights(model)), "each was worth cutting"
    save(child, tmp_path / "child.safetensors")
    again = load(tmp_path / "child.safetensors")
    x = pixels(ZOO[name])
    assert torch.equal(again(x), child(x))
    assert recipe_of(again) == recipe_of(child) != recipe_of(model)
    assert sum(p.numel() for p in child.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("layer", ["fc1", "head"])
def test_a_factorised_layer_is_the_best_approximation_and_the_others_stay(layer: str) -> None:
    model = build(ZOO["mlp"], seed=2)
    child = factorise(model, {layer: 3})
    low = child.get_submodule(layer)
    assert isinstance(low, LowRankLinear)
    W = model.get_submodule(layer).weight.double()
    rest = torch.linalg.svdvals(W)[3:]
    distance = (low.second.weight.double() @ low.first.weight.double() - W).norm()
    assert distance.item() == pytest.approx(rest.norm().item(), rel=1e-5)  # Eckart and Young
    before, after = weights(model), weights(child)
    assert all(torch.equal(before[other], after[other]) for other in before if other != layer)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (260, 300), (300, 260)])
def test_truncated_is_the_svd_in_balanced_factors(shape: tuple[int, int]) -> None:
    matrix = normal(*shape, seed=0)
    left, right = truncated(matrix, 3)
    u, s, vt = torch.linalg.svd(matrix)
    assert torch.allclose(left @ right, (u[:, :3] * s[:3]) @ vt[:3], atol=1e-8)
    assert torch.allclose(torch.linalg.svdvals(left), s[:3].sqrt())
    assert torch.allclose(torch.linalg.svdvals(right), s[:3].sqrt())


def test_the_original_is_left_alone_and_shares_nothing() -> None:
    model = build(ZOO["mlp"], seed=2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    child = factorise(model, {"fc1": 3})
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert recipe_of(model) == ZOO["mlp"]


def test_what_is_factorised_already_keeps_its_rank_or_gets_a_lower_one(tmp_path: Path) -> None:
    model = build(ZOO["mlp"])
    twice = factorise(factorise(model, {"fc1": 3}), {"fc2": 4})
    assert ranks(twice) == {"fc1": 3, "fc2": 4}
    save(twice, tmp_path / "twice.safetensors")
    assert ranks(load(tmp_path / "twice.safetensors")) == {"fc1": 3, "fc2": 4}
    # From rank 4 to 2 is from the whole layer to 2: leading singular vectors stay
    again, direct = factorise(twice, {"fc2": 2}), factorise(model, {"fc2": 2})
    assert ranks(again) == {"fc1": 3, "fc2": 2}
    assert torch.allclose(kernel(again.fc2), kernel(direct.fc2), atol=1e-6)


def test_recipes_with_ranks_still_build_what_they_say() -> None:
    model = build(Recipe("mlp", (1, 4, 4), 5, {"width": 12, "depth": 2, "ranks": [3, 4, 0]}))
    assert ranks(model) == {"fc1": 3, "fc2": 4}
    assert ranks(factorise(model, {"fc1": 1})) == {"fc1": 1, "fc2": 4}


def test_what_would_not_get_smaller_stays_dense() -> None:
    model = build(ZOO["mlp"])
    child = factorise(model, {"fc1": 7, "fc2": 6, "head": 0})  # 7 (16 + 12) = 196 > 192, 6 (12 + 12) = 144
    assert ranks(child) == {}
    assert ranks(factorise(model, {"fc1": 6, "fc2": 5})) == {"fc1": 6, "fc2": 5}


@pytest.mark.parametrize("name", ["more filters", "more channels"])
def test_convolutions_are_cut_along_the_cheaper_unfolding_or_the_one_asked_for(name: str) -> None:
    layer, shape = CONVOLUTIONS[name]
    model = nn.Sequential(layer)
    for chosen, unfolding in ((None, cheaper(tuple(layer.weight.shape))), ("filters", FILTERS), ("channels", CHANNELS)):
        asked = {} if chosen is None else {"0": UNFOLDINGS[chosen]}
        child = factorise(model, {"0": 1}, unfoldings=asked)
        assert isinstance(child[0], LowRankConv2dIn if unfolding is CHANNELS else LowRankConv2d)
        W = unfolding.matrix(layer.weight.detach())
        cut = unfolding.matrix(kernel(child[0]))
        assert float((W - cut).norm()) == pytest.approx(float(torch.linalg.svdvals(W)[1:].norm()))
        assert child(normal(2, *shape, seed=0)).shape == model(normal(2, *shape, seed=0)).shape


def test_outputs_on_the_data_are_nearer_with_moments_and_their_mean_is_exact() -> None:
    model = build(ZOO["mlp"], seed=3).double()
    x = (pixels(ZOO["mlp"]).double() @ torch.diag(torch.tensor([1, 0.1, 0.01, 1.0]).double())).repeat(4, 1, 1, 1)
    moments = input_moments(model, ["fc1"], x, batch_size=5)
    plain, aware = factorise(model, {"fc1": 2}), factorise(model, {"fc1": 2}, moments=moments)
    u = x.flatten(1)
    off = {name: child.fc1(u) - model.fc1(u) for name, child in (("plain", plain), ("aware", aware))}
    assert off["aware"].square().mean() < 0.5 * off["plain"].square().mean()
    assert off["aware"].mean(0).abs().max() < 1e-12 < off["plain"].mean(0).abs().max()


def test_without_a_bias_the_whole_moment_counts_and_none_is_added() -> None:
    model = nn.Sequential(dense(6, 5, bias=False))
    x = 3 + normal(40, 6, seed=1)
    child = factorise(model, {"0": 2}, moments=input_moments(model, ["0"], x, batch_size=40))
    assert child[0].second.bias is None
    outputs = model(x).detach()
    best = torch.linalg.svdvals(outputs)[2:].square().sum()  # no rank-2 map of any kind does better
    assert float((child(x).detach() - outputs).square().sum()) == pytest.approx(float(best), rel=1e-5)


def test_a_foreign_module_needs_no_recipe_and_keeps_format_and_mode() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4, bias=False)).double().train()
    child = factorise(model, {"0": 2, "2": 1})
    assert recipe_of(child) is None
    assert {p.dtype for p in child.parameters()} == {torch.float64}
    assert child.training
    assert child(torch.zeros(1, 6, dtype=torch.float64)).shape == (1, 4)


def test_refusals_name_the_layer_and_the_remedy() -> None:
    model = build(ZOO["mlp"])
    with pytest.raises(ModelError, match="no dense layer or convolution 'fc9' to factorise: expected one of fc1, fc2"):
        factorise(model, {"fc9": 1})
    for rank in (-1, 13):
        with pytest.raises(ModelError, match=f"layer 'fc2': rank must be between 1 and 12.*, got {rank}"):
            factorise(model, {"fc2": rank})
    with pytest.raises(ModelError, match="layer 'fc1': rank must be between 1 and 3"):
        factorise(factorise(model, {"fc1": 3}), {"fc1": 4})
    with pytest.raises(ModelError, match=r"'fc1.first' to factorise: expected one of fc1, fc2, head"):
        factorise(factorise(model, {"fc1": 3}), {"fc1.first": 1})
    with pytest.raises(ModelError, match="layer 'fc1' can be unfolded one way only"):
        factorise(model, {"fc1": 1}, unfoldings={"fc1": CHANNELS})
    with pytest.raises(ModelError, match="layer 'fc1': its inputs have 16 entries, the moment is of 12"):
        factorise(
            model, {"fc1": 1}, moments={"fc1": input_moments(model, ["fc2"], pixels(ZOO["mlp"]), batch_size=6)["fc2"]}
        )
    with pytest.raises(ModelError, match="layer '0': a convolution with 2 groups cannot be factorised"):
        factorise(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), {"0": 1})
    with torch.no_grad():
        model.get_submodule("fc1").weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match="layer 'fc1': the layer's weights hold NaN or infinity"):
        factorise(model, {"fc1": 1})
