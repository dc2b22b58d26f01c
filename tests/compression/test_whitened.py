"""Data-aware low rank: errors on the data against closed forms, least squares and random search, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brittle.compression.unfoldings import CHANNELS, FILTERS, Unfolding
from brittle.compression.whitened import mean_shift, whitened_factors, whitened_values
from tests.compression.low_rank_cases import normal


def moment(d: int, seed: int, rank: int | None = None) -> Tensor:
    rows = normal(rank or 3 * d, d, seed=seed) * torch.logspace(0, -1.5, d, dtype=torch.float64)
    return rows.T @ rows / len(rows)


def product(weight: Tensor, left: Tensor, right: Tensor, unfolding: Unfolding) -> Tensor:
    """The kernel of L R, (h, d)."""
    if unfolding is FILTERS:
        return left @ right
    spread = right.reshape(len(right), len(weight), -1)
    return torch.einsum("cr,rhs->hcs", left, spread).flatten(1)


def error(weight: Tensor, approximation: Tensor, C: Tensor) -> float:
    off = weight.flatten(1) - approximation
    return float((off @ C @ off.T).trace())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(0, 99))
def test_the_error_is_the_tail_of_the_whitened_spectrum(h: int, d: int, rank: int, seed: int) -> None:
    W, C, rank = normal(h, d, seed=seed), moment(d, seed + 1), min(rank, h, d)
    left, right = whitened_factors(W, C, rank, FILTERS, ridge=0.0)
    sigma = np.linalg.svd(W.numpy() @ scipy.linalg.sqrtm(C.numpy()).real, compute_uv=False)
    assert left.shape == (h, rank)
    assert right.shape == (rank, d)
    np.testing.assert_allclose(whitened_values(W, C, FILTERS), sigma, atol=1e-7 * sigma[0])
    assert error(W, left @ right, C) == pytest.approx((sigma[rank:] ** 2).sum(), abs=1e-9 * (sigma**2).sum())


def test_no_other_matrix_of_the_rank_does_better() -> None:
    W, C = normal(6, 8, seed=0), moment(8, 1)
    left, right = whitened_factors(W, C, 2, FILTERS)
    best = error(W, left @ right, C)
    u, s, vt = torch.linalg.svd(W)
    assert best < 0.9 * error(W, (u[:, :2] * s[:2]) @ vt[:2], C)
    for seed in range(20):  # alternating least squares from random beginnings, each step of them exact
        B = normal(6, 2, seed=seed)
        for _ in range(30):
            A = torch.linalg.lstsq(B, W).solution
            B = torch.linalg.solve(A @ C @ A.T, A @ C @ W.T).T
        assert best <= error(W, B @ A, C) * (1 + 1e-4)


@pytest.mark.parametrize("unfolding", [FILTERS, CHANNELS])
def test_inputs_that_never_occur_cost_nothing_and_full_rank_is_the_layer(unfolding: Unfolding) -> None:
    W = normal(4, 6, 2, 2, seed=2)
    C = moment(24, 3, rank=5)
    left, right = whitened_factors(W, C, 6 if unfolding is CHANNELS else 4, unfolding)
    assert torch.allclose(product(W, left, right, unfolding), W.flatten(1), atol=1e-6)
    assert torch.isfinite(whitened_factors(W, C, 3, unfolding)[0]).all()
    if unfolding is FILTERS:
        sigma = whitened_values(W, C, FILTERS)
        assert error(W, torch.matmul(*whitened_factors(W, C, 2, FILTERS)), C) == pytest.approx(
            float(sigma[2:].square().sum()), rel=1e-3
        )


@pytest.mark.parametrize("unfolding", [FILTERS, CHANNELS])
def test_without_any_data_it_is_the_plain_truncated_svd(unfolding: Unfolding) -> None:
    W = normal(4, 6, 2, 2, seed=4)
    left, right = whitened_factors(W, torch.zeros(24, 24, dtype=torch.float64), 2, unfolding)
    off = W.flatten(1) - product(W, left, right, unfolding)
    tail = torch.linalg.svdvals(unfolding.matrix(W))[2:]
    assert float(off.norm()) == pytest.approx(float(tail.norm()))


def test_channels_alike_under_every_tap_have_a_closed_form() -> None:
    W, D = normal(3, 7, 2, 2, seed=5), moment(7, 6)
    C = torch.kron(D, torch.eye(4, dtype=torch.float64))  # taps alike, independent of each other
    sigma = np.linalg.svd(scipy.linalg.sqrtm(D.numpy()).real @ CHANNELS.matrix(W).numpy(), compute_uv=False)
    np.testing.assert_allclose(whitened_values(W, C, CHANNELS), sigma, atol=1e-7)
    for rank in range(1, 7):
        left, right = whitened_factors(W, C, rank, CHANNELS)
        assert left.shape == (7, rank)
        assert right.shape == (rank, 12)
        assert error(W, product(W, left, right, CHANNELS), C) == pytest.approx((sigma[rank:] ** 2).sum(), rel=1e-4)


def test_the_window_part_is_the_least_squares_fit_for_its_mixtures() -> None:
    W, rows = normal(3, 6, 2, 2, seed=7), normal(200, 24, seed=8) @ normal(24, 24, seed=9)
    C = rows.T @ rows / len(rows)
    left, right = whitened_factors(W, C, 3, CHANNELS)
    found = error(W, product(W, left, right, CHANNELS), C)
    mixed = torch.einsum("nct,cr->nrt", rows.view(200, 6, 4), left).flatten(1)
    outputs = rows @ W.flatten(1).T
    fit = torch.linalg.lstsq(mixed, outputs).solution
    assert found == pytest.approx(float((outputs - mixed @ fit).square().sum()) / 200, rel=1e-4)
    u, s, vt = torch.linalg.svd(CHANNELS.matrix(W), full_matrices=False)
    assert found < error(W, product(W, u[:, :3] * s[:3], vt[:3], CHANNELS), C)


@pytest.mark.parametrize("unfolding", [FILTERS, CHANNELS])
def test_the_shift_keeps_the_mean_of_the_outputs(unfolding: Unfolding) -> None:
    W, rows = normal(4, 6, 2, 2, seed=10), 2 + normal(50, 24, seed=11)
    left, right = whitened_factors(W, torch.cov(rows.T), 2, unfolding)
    shift = mean_shift(W, left, right, rows.mean(0), unfolding)
    before, after = rows @ W.flatten(1).T, rows @ product(W, left, right, unfolding).T + shift
    assert torch.allclose(before.mean(0), after.mean(0))
    assert shift.abs().min() > 1e-3


@pytest.mark.parametrize("unfolding", [FILTERS, CHANNELS])
def test_both_factors_have_the_same_singular_values(unfolding: Unfolding) -> None:
    left, right = whitened_factors(normal(4, 6, 2, 2, seed=12), moment(24, 13), 3, unfolding)
    assert torch.allclose(torch.linalg.svdvals(left), torch.linalg.svdvals(right))
