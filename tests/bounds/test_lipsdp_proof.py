"""The proofs behind LipSDP bounds, in exact rational arithmetic and against the worst weights within the slack."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import numpy as np
import pytest
import torch
from benchmarks.soundness import SLOPES
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brittle.bounds.dense_chain import DenseChain, DenseMap
from brittle.bounds.lipsdp import Point, recursion
from brittle.bounds.lipsdp_l2 import lipsdp_l2
from brittle.bounds.lipsdp_linf import lipsdp_linf
from brittle.bounds.lipsdp_proof import _exceeds, _holds, prove
from brittle.bounds.lipsdp_search import minimise, rows_objective
from brittle.bounds.logit_rows import combined
from brittle.operators.activations import Slopes
from tests.bounds.test_lipsdp import KINDS, RELU, all_jacobians, lipsdp_chain, random_point
from tests.cases import normal
from tests.operators.reference import fractions


def _rational_positive(matrix: np.ndarray) -> bool:
    """Whether a symmetric matrix of fractions is positive semidefinite, by elimination."""
    a = matrix.copy()
    for k in range(len(a)):
        if a[k, k] < 0 or (a[k, k] == 0 and any(v != 0 for v in a[k, k:])):
            return False
        if a[k, k] > 0:
            for i in range(k + 1, len(a)):
                a[i, k:] = a[i, k:] - a[k, k:] * (a[i, k] / a[k, k])
    return True


def _rational_q(form: Tensor, following: Tensor, w: Tensor, slopes: Slopes, lam: Tensor) -> np.ndarray:
    a, b = Fraction(slopes.low), Fraction(slopes.high)
    weight, diagonal = fractions(w), np.diag(fractions(lam))
    corner = fractions(form) + a * b * (weight.T @ diagonal @ weight)
    off = -(a + b) / 2 * (diagonal @ weight)
    return np.block([[corner, off.T], [off, diagonal - fractions(following)]])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(SLOPES), st.sampled_from([1e-12, 0.0, -1e-13, -1e-6]))
def test_an_accepted_layer_is_positive_in_exact_arithmetic(seed: int, slopes: Slopes, loss: float) -> None:
    """Losses around 0 put Q at the edge, where a proof with too small a margin would accept wrongly."""
    w = normal(3, 3, seed=seed)
    mu, objective = torch.ones(1, 3, dtype=torch.float64), rows_objective(normal(1, 3, seed=seed + 1))
    found = minimise((w,), (slopes,), mu, objective, free_mu=True, steps=5, time_limit=inf)
    forms = recursion(
        (w,), (slopes,), Point(found.mu.log(), (found.lams[0].log(),), (torch.zeros(1, 1).double(),)), None
    )
    lam = forms.steps[0].lam[0]
    following = forms.lower[0] @ forms.lower[0].T
    following = (following + following.T) / 2
    following = following - torch.diag(loss * following.diagonal())
    form = torch.diag(forms.mu[0])
    if _holds(form, following, DenseMap(w, None), slopes, lam):
        assert _rational_positive(_rational_q(form, following, w, slopes, lam))
    else:
        assert loss < 1e-9
    if loss == -1e-6:
        assert not _holds(form, following, DenseMap(w, None), slopes, lam)


@pytest.mark.parametrize("seed", range(6))
def test_inverse_bounds_hold_in_exact_arithmetic(seed: int) -> None:
    slopes = KINDS[seed % len(KINDS)]
    chain = lipsdp_chain((3, 4, 2), slopes, seed)
    solve = lipsdp_l2(chain, steps=10)
    proven = solve.form
    assert proven is not None
    scale = np.diag([1 / Fraction(v) for v in proven.scale.tolist()])
    form = scale @ fractions(proven.scaled) @ scale
    vectors = combined(torch.eye(2, dtype=torch.float64), chain.unit()[0].maps[-1])
    bounds = proven.inverse_bounds(vectors)
    for v, bound in zip(fractions(vectors.matrix), bounds.tolist(), strict=True):
        # v^T X^-1 v <= b  exactly when  b X - v v^T >= 0
        assert _rational_positive(Fraction(bound) * form - np.outer(v, v))
        assert not _rational_positive(Fraction(bound) * (1 - Fraction(1, 10**9)) * form - np.outer(v, v))
    whole = Fraction(proven.largest_inverse_bound(vectors))
    v = fractions(vectors.matrix)
    assert _rational_positive(whole * form - v.T @ v)


def test_positive_by_a_margin_is_told_from_almost_positive() -> None:
    matrix = torch.diag(torch.tensor([1.0, 1e-3], dtype=torch.float64))
    assert _exceeds(matrix, 0.9e-3)
    assert not _exceeds(matrix, 1.0e-3)
    assert not _exceeds(torch.diag(torch.tensor([1.0, -1e-30], dtype=torch.float64)), 0.0)
    assert not _exceeds(torch.full((2, 2), float("nan"), dtype=torch.float64), 0.0)


def test_multipliers_that_are_not_feasible_have_no_proof() -> None:
    w = normal(3, 3, seed=0)
    assert prove((DenseMap(w, None),), (RELU,), torch.ones(3).double(), (torch.full((3,), 100.0).double(),)) is None


@pytest.mark.parametrize("slopes", [RELU, Slopes(-0.2, 1.3)])
def test_slack_in_the_weights_is_covered(slopes: Slopes) -> None:
    exact = lipsdp_chain((3, 4, 2), slopes, 8)
    slack = 0.01
    loose = DenseChain(
        tuple(DenseMap(m.matrix, torch.full_like(m.matrix, slack)) for m in exact.maps), slopes=exact.slopes
    )
    solve = lipsdp_l2(loose, steps=20)
    weighted = lipsdp_linf(loose, torch.eye(2, dtype=torch.float64), steps=20)
    for trial in range(20):
        moved = DenseChain(
            tuple(DenseMap(m.matrix + slack * normal(*m.matrix.shape, seed=trial).sign(), None) for m in exact.maps),
            exact.slopes,
        )
        stacked = torch.stack(all_jacobians(moved))
        assert solve.value >= float(torch.linalg.matrix_norm(stacked, 2).max())
        assert bool((weighted.values >= stacked.abs().sum(2).amax(0)).all())


@pytest.mark.parametrize("slopes", KINDS)
def test_an_accepted_layer_allows_for_every_weight_within_the_slack(slopes: Slopes) -> None:
    """Without slack the layer is accepted at a loss of 1e-12; with slack only at a loss that covers all weights."""
    w, slack = normal(3, 4, seed=2), 1e-4
    forms = recursion((w,), (slopes,), random_point(1, (4, 3), 1), None)
    form, lam = torch.diag(forms.mu[0]), forms.steps[0].lam[0]
    following = forms.lower[0] @ forms.lower[0].T
    following = (following + following.T) / 2
    candidates = [following - torch.diag(10.0**k * following.diagonal()) for k in range(-12, 0)]
    assert _holds(form, candidates[0], DenseMap(w, None), slopes, lam)
    loose = DenseMap(w, torch.full_like(w, slack))
    accepted = next(c for c in candidates if _holds(form, c, loose, slopes, lam))
    c, p = (slopes.low + slopes.high) / 2, slopes.low * slopes.high
    for trial in range(50):
        moved = w + slack * normal(3, 4, seed=trial).sign()
        off = -c * lam[:, None] * moved
        corner = form + p * moved.T @ (lam[:, None] * moved)
        q = torch.cat([torch.cat([corner, off.T], 1), torch.cat([off, torch.diag(lam) - accepted], 1)])
        assert float(torch.linalg.eigvalsh(q)[0]) >= -1e-13


def test_slack_counts_where_the_weights_themselves_are_zero() -> None:
    """c = 0 and W = 0 leave Q's corner `I - E^T E`: what E can be decides."""
    eye, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    one, even = torch.ones(3, dtype=torch.float64), Slopes(-1.0, 1.0)
    assert _holds(eye, eye / 2, DenseMap(zero, zero + 0.1), even, one)  # ||E|| <= 0.3
    assert not _holds(eye, eye / 2, DenseMap(zero, zero + 0.5), even, one)  # ||E|| <= 1.5


def test_slack_counts_where_it_multiplies_the_weights() -> None:
    """One unit, c = 0: Q's corner is `X - (1 + E)^2`, with |E| <= 0.1 at worst `X - 1.21`."""
    one = torch.ones(1, 1, dtype=torch.float64)
    loose = DenseMap(one, 0.1 * one)
    assert not _holds(1.2 * one, 0 * one, loose, Slopes(-1.0, 1.0), one[0])
    assert _holds(1.22 * one, 0 * one, loose, Slopes(-1.0, 1.0), one[0])


def test_inverse_bounds_cover_the_slack_of_their_vectors() -> None:
    solve = lipsdp_l2(lipsdp_chain((3, 4, 2), RELU, 0), steps=10)
    proven = solve.form
    assert proven is not None
    form = proven.scaled / proven.scale[:, None] / proven.scale
    v = normal(2, 4, seed=1)
    loose = DenseMap(v, torch.full_like(v, 0.1))
    worst = v + 0.1 * torch.linalg.solve(form, v.T).T.sign()
    gram = worst @ torch.linalg.solve(form, worst.T)
    assert bool((proven.inverse_bounds(loose) >= gram.diagonal()).all())
    assert proven.largest_inverse_bound(loose) >= float(torch.linalg.eigvalsh(gram)[-1])
