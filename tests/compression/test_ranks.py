"""Families of ranks: against the definitions worked out naively, and never smaller for a larger knob."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brittle.compression.factorise import factorise
from brittle.compression.moments import input_moments
from brittle.compression.pairs import kernel
from brittle.compression.plan import CompressionPlan
from brittle.compression.ranks import (
    Spectrum,
    checked_knob,
    energy_ranks,
    eps_ranks,
    spectra,
    thin_layers,
    uniform_ranks,
)
from brittle.compression.unfoldings import unfolding_of, weights_at
from brittle.errors import ModelError, UsageError
from brittle.models.recipe import Recipe, build

CNN = build(Recipe("cnn", (3, 8, 8), 5, {"channels": [8, 4], "kernel": 3, "fc": [24, 20]}), seed=1)
X = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
MOMENTS = input_moments(CNN, thin_layers(CNN), X, batch_size=40)
FAMILIES = {
    "uniform": uniform_ranks(CNN),
    "eps": eps_ranks(CNN),
    "energy": energy_ranks(CNN),
    "eps, data": eps_ranks(CNN, moments=MOMENTS),
    "energy, data": energy_ranks(CNN, moments=MOMENTS),
}


def sigmas() -> dict[str, np.ndarray]:
    found = {}
    for name in ("conv1", "conv2", "fc1", "fc2"):
        layer = CNN.get_submodule(name)
        matrix = unfolding_of(layer).matrix(kernel(layer)).numpy()
        found[name] = np.linalg.svd(matrix, compute_uv=False)
    return found


def weights(plan: CompressionPlan, layer: str) -> int:
    module = CNN.get_submodule(layer)
    return weights_at(module, plan.ranks.get(layer, 0), unfolding_of(module))


def test_all_but_the_head_and_layers_without_gain_are_cut() -> None:
    assert thin_layers(CNN) == ("conv1", "conv2", "fc1", "fc2")
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(9, 9), nn.Linear(9, 9))
    assert thin_layers(model) == ("1",), "4 weights at rank 1 are as many as the dense layer's"
    assert [s.name for s in spectra(model, ["2", "0", "1"])] == ["2", "1"], "the head can be named"


def test_what_a_spectrum_says() -> None:
    found = {s.name: s for s in spectra(CNN)}
    for name, values in sigmas().items():
        np.testing.assert_allclose(found[name].values, values, rtol=1e-6)
        assert found[name].whole == CNN.get_submodule(name).weight.numel()
        rank = found[name].most
        assert rank * found[name].step < found[name].whole
        assert rank == len(values) or (rank + 1) * found[name].step >= found[name].whole
    assert found["conv2"].step == 8 + 4 * 9, "more channels than filters: the other unfolding"


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ends_of_the_knob(name: str) -> None:
    assert set(FAMILIES[name](0.0).ranks.values()) == {1}
    assert list(FAMILIES[name](0.0).ranks) == ["conv1", "conv2", "fc1", "fc2"]
    assert FAMILIES[name](1.0) == CompressionPlan()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(FAMILIES)), st.floats(0, 1), st.floats(0, 1))
def test_no_layer_shrinks_for_a_larger_knob(name: str, a: float, b: float) -> None:
    small, large = FAMILIES[name](min(a, b)), FAMILIES[name](max(a, b))
    assert all(weights(small, layer) <= weights(large, layer) for layer in sigmas())
    # Ranks in a plan save weights: layers that would not are absent
    assert all(weights(large, layer) < CNN.get_submodule(layer).weight.numel() for layer in large.ranks)


def test_uniform_is_one_share_of_the_full_rank() -> None:
    plan = uniform_ranks(CNN)(0.3)
    assert dict(plan.ranks) == {name: max(1, round(0.3 * len(s))) for name, s in sigmas().items()}
    assert dict(uniform_ranks(CNN, ["fc1"])(0.3).ranks) == {"fc1": 5}


@pytest.mark.parametrize("knob", [0.2, 0.35, 0.5])
def test_eps_is_the_smallest_rank_within_one_residual(knob: float) -> None:
    ranks = eps_ranks(CNN)(knob).ranks
    for name, sigma in sigmas().items():
        naive = next(k for k in range(len(sigma) + 1) if sigma[k:].sum() <= (1 - knob) * sigma.sum())
        assert ranks.get(name, naive) == max(1, naive)


def test_a_matrix_of_low_rank_has_residual_zero_before_the_end() -> None:
    model = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 2))
    model[0].weight.data = torch.zeros(9, 9)
    model[0].weight.data[0, 0] = 1
    assert dict(eps_ranks(model)(0.99).ranks) == {"0": 1}
    assert dict(eps_ranks(model)(1.0).ranks) == {}


@pytest.mark.parametrize("knob", [0.03, 0.1, 0.3, 0.6, 0.9])
def test_energy_takes_what_a_weight_buys_most_of(knob: float) -> None:
    """The queue walked step by step: the best next rank of any layer, the way to dense never before its ranks."""
    energies = {name: sigma**2 / (sigma**2).sum() for name, sigma in sigmas().items()}
    found = {s.name: s for s in spectra(CNN)}
    ranks = dict.fromkeys(found, 1)
    budget = knob * sum(s.whole - s.step for s in found.values())
    spent = 0
    while True:
        steps = {}
        for name, s in found.items():
            if ranks[name] < s.most:
                steps[name] = (energies[name][ranks[name]] / s.step, s.step)
            elif ranks[name] == s.most:
                rest = s.whole - s.most * s.step
                last = energies[name][s.most - 1] / s.step
                steps[name] = (min(last, energies[name][s.most :].sum() / rest), rest)
        best = max(steps, key=lambda name: steps[name][0])
        if spent + steps[best][1] > budget:
            break
        spent += steps[best][1]
        ranks[best] += 1
    expected = {name: rank for name, rank in ranks.items() if rank <= found[name].most}
    assert dict(energy_ranks(CNN)(knob).ranks) == expected


def test_data_change_the_order_as_the_whitened_spectrum_says() -> None:
    for spectrum in spectra(CNN, moments=MOMENTS):
        # The sum over all ranks is the output's variance (filters unfolded, with bias)
        if spectrum.name in ("fc1", "fc2"):
            W, C = kernel(CNN.get_submodule(spectrum.name)), MOMENTS[spectrum.name].covariance()
            assert float(spectrum.values.square().sum()) == pytest.approx(float((W @ C @ W.T).trace()))
    assert FAMILIES["energy"](0.2) != FAMILIES["energy, data"](0.2)


@pytest.mark.parametrize("name", FAMILIES)
def test_children_have_the_weights_that_the_plan_says(name: str) -> None:
    plan = FAMILIES[name](0.25)
    child = factorise(CNN, plan.ranks, moments=MOMENTS if "data" in name else None)
    saved = sum(CNN.get_submodule(layer).weight.numel() - weights(plan, layer) for layer in plan.ranks)
    assert saved > 0
    assert sum(p.numel() for p in child.parameters()) == sum(p.numel() for p in CNN.parameters()) - saved


def test_pairs_are_cut_further_from_their_own_rank() -> None:
    child = factorise(CNN, {"fc1": 6, "fc2": 1})
    found = {s.name: s for s in spectra(child)}
    assert "fc2" not in found, "rank 1 cannot fall"
    assert len(found["fc1"].values) == 6
    assert found["fc1"].most == 5
    assert energy_ranks(child)(1.0) == CompressionPlan()
    assert uniform_ranks(child)(0.5).ranks["fc1"] == 3


def test_zero_weights_are_no_trouble() -> None:
    model = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 2))
    nn.init.zeros_(model[0].weight)
    assert dict(energy_ranks(model)(0.5).ranks)["0"] <= 4
    assert Spectrum("x", torch.ones(3), 4, 9).most == 2


def test_refusals() -> None:
    for knob in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match=r"the knob of a family of plans is in \[0, 1\], got"):
            checked_knob(knob)
        for family in FAMILIES.values():
            with pytest.raises(UsageError, match="the knob of a family"):
                family(knob)
    with pytest.raises(ModelError, match="layer 'fc9' cannot have a rank: expected one of conv1, conv2"):
        uniform_ranks(CNN, ["fc9"])
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Linear(2, 2))
    with pytest.raises(ModelError, match="layer '0' cannot have a rank: a convolution with 2 groups"):
        eps_ranks(grouped, ["0"])
    with pytest.raises(ModelError, match="no layer of the model gets smaller at low rank"):
        energy_ranks(grouped)
    with pytest.raises(ModelError, match="layer 'fc1': its inputs have 16 entries, the moment is of 24"):
        energy_ranks(CNN, moments={"fc1": MOMENTS["fc2"]})
    broken = factorise(CNN, {})
    broken.fc1.weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"weight 'fc1\.weight' holds NaN or infinity in 1 of"):
        uniform_ranks(broken)
