"""A matrix's row of the record agrees with `brittle.structure` on a model of the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import brittle
from brittle.checkpoints.measure import measure_matrix, probe_seed
from brittle.checkpoints.options import CheckpointOptions
from brittle.results.layer import Unmeasured
from brittle.results.structure import MatrixStructure
from tests.checkpoints.made import normal, only, planned, with_spectrum, write


def row(tmp_path: Path, w: torch.Tensor, options: CheckpointOptions | None = None) -> MatrixStructure:
    found = measure_matrix(only(tmp_path, {"a.weight": w}), options or CheckpointOptions())
    assert isinstance(found, MatrixStructure)
    return found


def test_agrees_with_the_structure_of_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 50, bias=False), nn.ReLU(), nn.Linear(50, 7))
    write(tmp_path / "whole.safetensors", model.state_dict())
    layers = {layer.name: layer for layer in brittle.structure(model)}
    rows = planned(tmp_path, model.state_dict()).matrices
    assert [m.name for m in rows] == list(layers)
    for matrix in rows:
        ours, theirs = measure_matrix(matrix, CheckpointOptions()), layers[matrix.name]
        assert isinstance(ours, MatrixStructure)
        assert ours.shape == theirs.shape
        assert ours.frobenius == pytest.approx(theirs.frobenius, rel=1e-12)
        assert ours.spectral.k == theirs.spectral.k
        for field in ("epsilon", "beta", "beta_mean", "pq_index", "keep_at_5pct"):
            assert getattr(ours.neuron, field) == pytest.approx(getattr(theirs.neuron, field), rel=1e-9, abs=1e-12)
        for field in ("epsilon", "effective_rank", "stable_rank", "pq_index"):
            quantity = getattr(ours.spectral, field)
            assert quantity.status == "exact"
            assert quantity.interval95 is None
            assert quantity.value == pytest.approx(getattr(theirs.spectral, field), rel=1e-6)
        assert ours.spectral.sigma_max.value == pytest.approx(theirs.norms["l2"].value, rel=1e-9)
        for field in ("beta", "beta_mean", "rank_at_5pct"):
            assert getattr(ours.spectral, field) == pytest.approx(getattr(theirs.spectral, field), rel=1e-6)


def test_estimated_beyond_the_exact_side(tmp_path: Path) -> None:
    sigma = torch.arange(1, 61.0) ** -0.7
    w = with_spectrum(60, 90, sigma, seed=0)
    options = CheckpointOptions(exact_side=59, steps=24)
    exact, found = row(tmp_path, w), row(tmp_path, w, options)
    assert found.neuron == exact.neuron
    assert found.frobenius == exact.frobenius
    assert (exact.spectral.method, found.spectral.method) == ("all values", "random probes")
    assert (found.spectral.beta, found.spectral.beta_mean, found.spectral.rank_at_5pct) == (None, None, None)
    for field in ("sigma_max", "effective_rank", "stable_rank", "epsilon", "pq_index"):
        quantity = getattr(found.spectral, field)
        assert quantity.status != "exact"
        low, high = quantity.interval95
        assert low * (1 - 1e-9) <= getattr(exact.spectral, field).value <= high * (1 + 1e-9), field
    assert row(tmp_path, w, replace(options, exact_side=60)).spectral.method == "all values"


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e250])
def test_scale_changes_scale_alone(scale: float, tmp_path: Path) -> None:
    w = normal(40, 50, seed=0).double()
    options = CheckpointOptions(exact_side=8, steps=20)
    one, other = row(tmp_path, w, options), row(tmp_path, w * scale, options)
    assert other.frobenius == pytest.approx(one.frobenius * scale)
    assert other.spectral.sigma_max.value == pytest.approx(one.spectral.sigma_max.value * scale)
    assert other.spectral.epsilon.value == pytest.approx(one.spectral.epsilon.value, rel=1e-6)
    assert other.spectral.effective_rank.value == pytest.approx(one.spectral.effective_rank.value, rel=1e-6)


@pytest.mark.parametrize("side", [0, 2048])
def test_a_zero_matrix_has_no_rank(side: int, tmp_path: Path) -> None:
    found = row(tmp_path, torch.zeros(9, 8), CheckpointOptions(exact_side=side))
    assert found.frobenius == 0
    assert found.spectral.effective_rank.value == found.spectral.stable_rank.value == found.spectral.epsilon.value == 0


def test_broken_weights_are_unmeasured(tmp_path: Path) -> None:
    w = normal(6, 5, seed=0)
    w[0, 0] = torch.nan
    found = measure_matrix(only(tmp_path, {"a.weight": w}), CheckpointOptions())
    assert isinstance(found, Unmeasured)
    assert (found.name, found.shape) == ("a", (6, 5))
    assert "NaN or infinity" in found.why


def test_probes_depend_on_seed_and_name_alone() -> None:
    assert len({probe_seed(0, "a"), probe_seed(0, "b"), probe_seed(1, "a")}) == 3
    assert probe_seed(3, "a") == probe_seed(3, "a")
