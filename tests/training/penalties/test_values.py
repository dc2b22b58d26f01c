"""Penalties against closed forms and against numpy and torch.linalg in float64."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from brittle.compressibility.rank import effective_rank
from brittle.compressibility.sparsity import pq_index
from brittle.errors import UsageError
from brittle.training.penalties import PENALTIES
from brittle.training.penalties.alignment import Alignment
from brittle.training.penalties.beta_control import BetaControl
from brittle.training.penalties.sparsity import PQ
from tests.training.penalties.made import normal, with_values

W = normal(7, 12, seed=5)
SIGMA = np.linalg.svd(W.numpy(), compute_uv=False)
ROWS = np.sqrt((W.numpy() ** 2).sum(1))
SIZE = sqrt(float((W**2).sum()))
EXPECTED = {
    "l1": np.abs(W.numpy()).sum(),
    "group_lasso": ROWS.sum(),
    "nuclear": SIGMA.sum(),
    "nuclear_fast": SIGMA.sum(),
    "l1_si": np.abs(W.numpy()).sum() / SIZE,
    "group_lasso_si": ROWS.sum() / SIZE,
    "nuclear_si": SIGMA.sum() / SIZE,
    "nuclear_si_fast": SIGMA.sum() / SIZE,
    "pq": np.abs(W.numpy()).sum() / SIZE / sqrt(7 * 12),
    "effective_rank": np.exp(-(SIGMA / SIGMA.sum() * np.log(SIGMA / SIGMA.sum())).sum()),
    "spectral": SIGMA[0],
    "orthonormality": ((SIGMA**2 - 1) ** 2).sum(),
    "condition": np.sqrt(((SIGMA**2 - (SIGMA**2).mean()) ** 2).sum()),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_values_of_a_matrix(name: str) -> None:
    assert float(PENALTIES[name].value([W])) == pytest.approx(EXPECTED[name], rel=1e-12)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"group_lasso", "group_lasso_si"}))
def test_all_but_the_groups_are_the_same_for_the_transpose(name: str) -> None:
    assert float(PENALTIES[name].value([W.T])) == pytest.approx(EXPECTED[name], rel=1e-12)


def test_they_agree_with_what_the_audit_measures() -> None:
    assert float(PENALTIES["pq"].value([W])) == pytest.approx(1 - pq_index(W), rel=1e-12)
    assert float(PQ(1.5, 3).value([W])) == pytest.approx(1 - pq_index(W, 1.5, 3), rel=1e-12)
    assert float(PENALTIES["effective_rank"].value([W])) == pytest.approx(effective_rank(torch.from_numpy(SIGMA)))


def test_ends_of_the_scale_invariant_ones() -> None:
    one, even = torch.zeros(4, 9), torch.linalg.qr(normal(9, 4)).Q.T
    one[2, 3] = -5
    for name, least in (("l1_si", 1), ("group_lasso_si", 1), ("nuclear_si", 1), ("effective_rank", 1), ("pq", 1 / 6)):
        assert float(PENALTIES[name].value([one])) == pytest.approx(least, rel=1e-6)
    for name, most in (("group_lasso_si", 2), ("nuclear_si", 2), ("effective_rank", 4)):
        assert float(PENALTIES[name].value([even])) == pytest.approx(most)
    assert float(PENALTIES["pq"].value([torch.ones(3, 5)])) == pytest.approx(1)


def test_values_that_are_alike_cost_nothing() -> None:
    even = torch.linalg.qr(normal(9, 4)).Q
    assert float(PENALTIES["orthonormality"].value([even])) == pytest.approx(0, abs=1e-20)
    assert float(PENALTIES["condition"].value([3 * even])) == pytest.approx(0, abs=1e-12)
    assert float(PENALTIES["orthonormality"].value([3 * even])) == pytest.approx(4 * 64)


def test_rank_one_with_repeated_zeros_has_a_gradient() -> None:
    """The decomposition's own derivative divides by differences of equal singular values."""
    w = with_values(torch.tensor([2.0, 1.0, 1.0]), 6, 8).requires_grad_()
    for name in ("effective_rank", "spectral", "alignment"):
        layers = [w, normal(3, 6)] if name == "alignment" else [w]
        (gradient,) = torch.autograd.grad(PENALTIES[name].value(layers), w)
        assert bool(gradient.isfinite().all())
        assert float(gradient.norm()) > 1e-3


def test_effective_rank_falls_along_its_gradient() -> None:
    w = normal(6, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(PENALTIES["effective_rank"].value([w]), w)
    after = torch.linalg.svdvals(w.detach() - 0.1 * gradient)
    assert effective_rank(after) < effective_rank(torch.linalg.svdvals(w.detach()))


def test_beta_control_looks_at_the_top_twentieth() -> None:
    w = torch.zeros(60, 2, dtype=torch.float64)
    w[:, 0] = -torch.arange(60)  # l_1 norms 0 ... 59, of which 57, 58 and 59 are the top 5 %
    assert float(BetaControl().value([w])) == pytest.approx(2 / 3)
    assert float(BetaControl(0.1).value([w])) == pytest.approx(np.var([54, 55, 56, 57, 58, 59]))
    assert float(BetaControl().value([w[:10]])) == pytest.approx(1 / 4)  # of 10 rows two, never one
    assert float(BetaControl().value([w[:1]])) == 0


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_beta_control_share(share: float) -> None:
    with pytest.raises(UsageError, match=r"beta control needs a share of the rows in \(0, 1\], got"):
        BetaControl(share)


@pytest.mark.parametrize(("p", "q"), [(0.5, 1.0), (2.0, 2.0), (1.0, float("inf"))])
def test_pq_exponents(p: float, q: float) -> None:
    with pytest.raises(UsageError, match="the PQ penalty needs 1 <= p < q, got"):
        PQ(p, q)


def test_alignment_against_spectral_norms() -> None:
    a, b, c = normal(5, 7, seed=1), normal(7, 4, seed=2), normal(6, 5, seed=3)

    def pair(outer: Tensor, inner: Tensor) -> float:
        norms = [float(torch.linalg.matrix_norm(m, 2)) for m in (outer @ inner, outer, inner)]
        return norms[0] / norms[1] / norms[2]

    assert float(Alignment().value([b, a, c])) == pytest.approx(pair(a, b) + pair(c, a))


def test_alignment_of_leading_vectors() -> None:
    e = torch.eye(4, dtype=torch.float64)
    inner = 3 * torch.outer(e[0], e[1])
    assert float(Alignment().value([inner, 5 * torch.outer(e[2], e[0])])) == pytest.approx(1)
    assert float(Alignment().value([inner, 5 * torch.outer(e[2], e[3])])) == pytest.approx(0, abs=1e-12)


def test_alignment_takes_the_taps_of_a_kernel_as_rows() -> None:
    """Unit j of the inner layer owns columns t j ... t j + t - 1, as flattened kernels and maps have them."""
    inner, kernel = normal(3, 4, seed=1), normal(5, 3, 2, seed=2)
    rows = torch.cat([kernel[:, :, 0], kernel[:, :, 1]])
    expected = Alignment().value([inner, rows])
    torch.testing.assert_close(Alignment().value([inner, kernel.flatten(1)]), expected)


def test_alignment_leaves_out_what_does_not_fit() -> None:
    a, b = normal(5, 4, seed=1), normal(7, 3, seed=2)
    torch.testing.assert_close(Alignment().value([a, b, normal(2, 7)]), Alignment().value([b, normal(2, 7)]))
    with pytest.raises(UsageError, match=r"alignment needs two neighbours, \(m, h t\) after \(h, d\), got \[\(5, 4\)"):
        Alignment().value([a, b])
