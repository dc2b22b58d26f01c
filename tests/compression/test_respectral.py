"""Spectra and row norms reshaped at a fixed Frobenius norm: against numpy's SVD and the formulas, entry by entry."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from brittle.compression.factorise import factorise
from brittle.compression.respectral import (
    ENERGY,
    concentrate_rows,
    concentrate_spectrum,
    flatten_rows,
    flatten_spectrum,
    layer_matrix,
    weight_layers,
)
from brittle.errors import ModelError, UsageError
from brittle.models.recipe import Recipe, build

CHANGES = (flatten_spectrum, concentrate_spectrum, flatten_rows, concentrate_rows)
NETS = {
    "mlp": build(Recipe("mlp", (1, 4, 4), 5, {"width": 12, "depth": 2}), seed=1),
    "cnn": build(Recipe("cnn", (2, 8, 8), 5, {"channels": [4, 6], "fc": [9]}), seed=2),
    "low rank mlp": build(Recipe("mlp", (1, 4, 4), 5, {"width": 12, "depth": 2, "ranks": [3, 4, 0]}), seed=3),
    "low rank cnn": build(Recipe("cnn", (2, 8, 8), 5, {"channels": [4, 6], "fc": [9], "ranks": [2, 3, 4, 0]}), seed=4),
}


def matrices(model: nn.Module) -> dict[str, Tensor]:
    return {name: layer_matrix(model.get_submodule(name)) for name in weight_layers(model)}


def leading(lengths: np.ndarray) -> np.ndarray:
    """Positions of the longest that together carry 95 % of the squares, longest first."""
    order = np.argsort(-lengths, kind="stable")
    count = int(np.searchsorted(np.cumsum(lengths[order] ** 2), ENERGY * (lengths**2).sum())) + 1
    return order[:count]


@pytest.mark.parametrize("name", NETS)
def test_layers_are_found_and_a_pair_is_one(name: str) -> None:
    expected = ("fc1", "fc2", "head") if "mlp" in name else ("conv1", "conv2", "fc1", "head")
    assert weight_layers(NETS[name]) == expected


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_frobenius_norms_and_the_original_stay(name: str, change: object, strength: float) -> None:
    model = NETS[name]
    before = copy.deepcopy(model.state_dict())
    child = change(model, strength, weight_layers(model)[:-1])
    for layer, old in matrices(model).items():
        new = matrices(child)[layer]
        assert float(new.norm()) == pytest.approx(float(old.norm()), rel=1e-6)
        assert torch.equal(new, old) == (layer == "head"), "every named layer changed, the other did not"
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert type(child) is type(model)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NETS)
def test_strength_zero_keeps_the_function(name: str, change: object) -> None:
    x = torch.rand(5, *NETS[name].recipe.input_shape, generator=torch.Generator().manual_seed(0))
    child = change(NETS[name], 0.0, weight_layers(NETS[name]))
    assert torch.allclose(child(x), NETS[name](x), atol=1e-6)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("change", "exponent"), [(flatten_spectrum, 0.4), (concentrate_spectrum, 1.6)])
def test_the_spectrum_is_raised_where_it_leads(name: str, change: object, exponent: float) -> None:
    model = NETS[name].double()
    layers = weight_layers(model)
    child = change(model, 0.6, layers)
    for layer in layers:
        left, old, right = np.linalg.svd(matrices(model)[layer].numpy(), full_matrices=False)
        lead = leading(old)
        wanted = old.copy()
        wanted[lead] = old[lead] ** exponent
        wanted[lead] *= np.sqrt((old[lead] ** 2).sum() / (wanted[lead] ** 2).sum())
        np.testing.assert_allclose(matrices(child)[layer].numpy(), (left * wanted) @ right, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("change", "exponent"), [(flatten_rows, 0.4), (concentrate_rows, 1.6)])
def test_rows_are_scaled_by_their_l1_norms_biases_with_them(name: str, change: object, exponent: float) -> None:
    model = NETS[name].double()
    layers = weight_layers(model)
    child = change(model, 0.6, layers)
    for layer in layers:
        old = matrices(model)[layer].numpy()
        lengths = np.sqrt((old**2).sum(1))
        lead = leading(lengths)
        factor = np.ones(len(old))
        factor[lead] = np.abs(old[lead]).sum(1) ** (exponent - 1)
        factor[lead] *= np.sqrt((lengths[lead] ** 2).sum() / ((lengths * factor)[lead] ** 2).sum())
        np.testing.assert_allclose(matrices(child)[layer].numpy(), factor[:, None] * old, atol=1e-12)
        bias = [dict(net.get_submodule(layer).named_parameters()) for net in (model, child)]
        (key,) = [key for key in bias[0] if key.endswith("bias")]
        np.testing.assert_allclose(bias[1][key].detach(), factor * bias[0][key].detach().numpy(), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 7), columns=st.integers(1, 7), decay=st.floats(0, 3))
def test_more_strength_makes_values_ever_more_equal(seed: int, rows: int, columns: int, decay: float) -> None:
    layer = nn.Linear(columns, rows).double()
    scales = torch.arange(1, rows + 1, dtype=torch.float64)[:, None] ** -decay
    layer.weight.data = scales * torch.randn(
        rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    model = nn.Sequential(layer)

    def largest(child: nn.Module) -> float:
        return float(torch.linalg.matrix_norm(child[0].weight.detach(), 2))

    norms = [largest(concentrate_spectrum(model, t, ["0"])) for t in (1.0, 0.5, 0.0)]
    norms += [largest(flatten_spectrum(model, t, ["0"])) for t in (0.5, 1.0)]
    assert all(b <= a * (1 + 1e-9) for a, b in pairwise(norms))
    flat = torch.linalg.svdvals(flatten_spectrum(model, 1.0, ["0"])[0].weight.detach()).numpy()
    lead = leading(torch.linalg.svdvals(layer.weight.detach()).numpy())
    tail = np.sort(np.delete(torch.linalg.svdvals(layer.weight.detach()).numpy(), lead))
    np.testing.assert_allclose(np.sort(flat)[: len(tail)], tail, atol=1e-9)
    np.testing.assert_allclose(flat[: len(lead)], flat[0], rtol=1e-9)


def test_a_pair_keeps_its_rank_and_shares_its_values() -> None:
    model = factorise(build(Recipe("mlp", (1, 4, 4), 5, {"width": 12, "depth": 1}), seed=0), {"fc1": 3})
    layer = flatten_spectrum(model, 1.0, ["fc1"]).get_submodule("fc1")
    first, second = (torch.linalg.svdvals(part.weight.detach().double()) for part in (layer.first, layer.second))
    assert layer.first.weight.shape == (3, 16)
    assert torch.allclose(first, second, atol=1e-5)
    assert float(first[0] - first[2]) < 1e-5


def test_zero_layers_stay_zero() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    for change in CHANGES:
        assert not change(nn.Sequential(layer), 1.0, ["0"])[0].weight.any()


def test_attention_projections_are_left_out() -> None:
    assert weight_layers(nn.MultiheadAttention(8, 2)) == ()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_strengths_outside_the_unit_interval_are_refused(change: object, strength: float) -> None:
    with pytest.raises(UsageError, match=r"in \[0, 1\], got"):
        change(NETS["mlp"], strength, ["fc1"])


def test_unknown_parametrised_and_broken_layers_are_refused() -> None:
    with pytest.raises(ModelError, match="no weight layer 'fc9' to change: expected one of fc1, fc2, head"):
        flatten_spectrum(NETS["mlp"], 1.0, ["fc9"])
    normed = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2)))
    with pytest.raises(ModelError, match="layer '0' computes its weights: bake"):
        flatten_rows(normed, 1.0, ["0"])
    broken = nn.Sequential(nn.Linear(3, 2))
    broken[0].weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"weight '0.weight' holds NaN"):
        flatten_spectrum(broken, 1.0, ["0"])
