"""Leading eigenpairs agree with a dense eigendecomposition, report honest residuals and stop where they should."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brittle.directions.subspace import Eigenpairs, completed, leading_pairs
from tests.cases import normal
from tests.directions.dense import eigen, overlap


class Counted:
    """A dense operator that counts the vectors it is applied to."""

    def __init__(self, a: Tensor) -> None:
        self.a, self.products = a, 0

    def __call__(self, v: Tensor) -> Tensor:
        self.products += len(v)
        return v @ self.a


def operator(values: Tensor, seed: int = 0) -> Tensor:
    q, _ = torch.linalg.qr(normal(len(values), len(values), seed=seed))
    return (q * values) @ q.T


def found(a: Tensor | Counted, k: int, **changed: object) -> Eigenpairs:
    options: dict[str, object] = {"block": 3, "seed": 0, "tolerance": 1e-6, "budget": 10**6, "rounding": 1e-14}
    product = a if isinstance(a, Counted) else Counted(a)
    return leading_pairs(product, len(product.a), k, **(options | changed))  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 5), st.integers(1, 6))
def test_pairs_are_the_dense_ones(seed: int, size: int, block: int, k: int) -> None:
    k = min(k, size)
    rows = normal(max(1, size // 2 + seed % 3), size, seed=seed)
    a = rows.T @ rows
    pairs = found(a, k, block=block, seed=seed)
    values, _ = eigen(a)
    torch.testing.assert_close(pairs.values, values[:k].clamp_min(0), rtol=1e-6, atol=1e-9 * float(values[0]))
    torch.testing.assert_close(pairs.vectors @ pairs.vectors.T, torch.eye(k, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        pairs.vectors @ a, pairs.values[:, None] * pairs.vectors, rtol=0, atol=3e-6 * float(values[0])
    )


def test_a_steep_spectrum_needs_few_products_and_gives_the_leading_subspace() -> None:
    a = operator(0.8 ** torch.arange(400, dtype=torch.float64))
    counted = Counted(a)
    pairs = found(counted, 5, tolerance=1e-4)
    assert counted.products == pairs.products < 100
    assert overlap(pairs.vectors, eigen(a)[1][:5]) > 1 - 1e-6


def test_equal_eigenvalues_are_all_found_when_the_block_is_as_large() -> None:
    a = operator(torch.cat([torch.full((3,), 5.0), torch.linspace(1, 0, 60)]).double())
    pairs = found(a, 4)
    torch.testing.assert_close(pairs.values, torch.tensor([5.0, 5.0, 5.0, 1.0]).double(), rtol=1e-8, atol=0)


def test_the_budget_stops_the_search_and_the_residuals_say_how_far_it_came() -> None:
    a = operator(torch.linspace(1, 0.5, 300, dtype=torch.float64))
    counted = Counted(a)
    pairs = found(counted, 4, budget=14, tolerance=1e-8)
    assert counted.products == pairs.products == 14
    honest = (pairs.vectors @ a - pairs.values[:, None] * pairs.vectors).norm(dim=1) / pairs.values
    torch.testing.assert_close(pairs.residuals, honest, rtol=1e-9, atol=1e-12)
    assert float(honest.max()) > 1e-3


def test_a_budget_below_k_still_gives_k_pairs() -> None:
    pairs = found(operator(torch.linspace(1, 0, 20, dtype=torch.float64)), 6, budget=1)
    assert pairs.products == 6
    assert pairs.vectors.shape == (6, 20)


def test_every_pair_meets_the_tolerance_where_the_budget_allows() -> None:
    a = operator(torch.linspace(1, 0, 120, dtype=torch.float64) ** 2)
    for tolerance in (1e-1, 1e-4):
        pairs = found(a, 5, tolerance=tolerance)
        honest = (pairs.vectors @ a - pairs.values[:, None] * pairs.vectors).norm(dim=1) / pairs.values
        assert float(honest.max()) <= tolerance


def test_what_vanishes_is_zero_with_residual_zero() -> None:
    low = found(operator(torch.tensor([2.0, 1.0, 0.0, 0.0, 0.0, 0.0]).double()), 4)
    assert low.values[:2].tolist() == pytest.approx([2.0, 1.0])
    assert low.values[2:].tolist() == low.residuals[2:].tolist() == [0.0, 0.0]
    none = found(torch.zeros(7, 7, dtype=torch.float64), 3)
    assert none.values.tolist() == none.residuals.tolist() == [0.0] * 3
    assert overlap(none.vectors, torch.eye(7)) == pytest.approx(1.0)


def test_the_basis_is_orthonormal_and_captures_its_trace() -> None:
    a = operator(torch.linspace(1, 0, 80, dtype=torch.float64))
    pairs = found(a, 3, budget=30)
    identity = torch.eye(len(pairs.basis), dtype=torch.float64)
    torch.testing.assert_close(pairs.basis @ pairs.basis.T, identity, rtol=0, atol=1e-12)
    assert pairs.captured == pytest.approx(float((pairs.basis @ a @ pairs.basis.T).trace()))


def test_the_seed_decides_the_start_and_progress_is_told() -> None:
    a = operator(torch.linspace(1, 0.9, 50, dtype=torch.float64))
    told: list[tuple[str, int, int]] = []
    first = found(a, 2, budget=9, progress=lambda *words: told.append(words))
    assert told == [("directions", 3, 9), ("directions", 6, 9), ("directions", 9, 9)]
    assert torch.equal(first.vectors, found(a, 2, budget=9).vectors)
    assert not torch.equal(first.vectors, found(a, 2, budget=9, seed=1).vectors)


def test_completed_keeps_the_rows_and_adds_orthonormal_ones() -> None:
    rows = torch.linalg.qr(normal(6, 2, seed=0))[0].T
    full = completed(rows, 6, 0)
    assert torch.equal(full[:2], rows)
    torch.testing.assert_close(full @ full.T, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-12)
