"""Tests of a monotone trend over levels: Page's with seeds as blocks, Jonckheere and Terpstra's without blocks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations

import numpy as np

from brittle.errors import UsageError
from brittle.studies.statistics.signed import SignedP
from brittle.studies.statistics.table import Array

EXACT_LEVELS = 7  # 5,040 orders of a block; beyond, orders are drawn


def linear_weights(k: int) -> Array:
    """(k,) centred level numbers of length 1: the contrast of a straight line."""
    weights = np.arange(k) - (k - 1) / 2
    return weights / np.linalg.norm(weights)


def midranks(y: Array) -> Array:
    """(n, k) ranks 1..k within each row, ties sharing the mean of theirs."""
    below = (y[:, :, None] > y[:, None, :]).sum(2)
    equal = (y[:, :, None] == y[:, None, :]).sum(2)
    return below + (equal + 1) / 2


def page(y: Array, seed: int, resamples: int = 9_999) -> SignedP:
    """Page's trend test (Page 1963), two-sided: levels ordered as the columns, seeds as blocks, ties by midranks.

    `L = sum over seeds s, levels l of l rank_s(y_sl)`. Under the null every order of a seed's levels is as likely as
    any other. Up to 7 levels p is exact, ties included (the distribution of each block, convolved); above,
    `resamples` orders are drawn and p = (1 + hits) / (1 + resamples).

    Args:
        y: (n, k), n >= 1 seeds, k >= 2 levels.
        seed: of the drawn orders.
        resamples: how many, where drawn.

    Raises:
        UsageError: another shape, or NaN.
    """
    y = _table(y)
    if y.shape[1] > EXACT_LEVELS:
        return blocked([y], [linear_weights(y.shape[1])], seed, resamples)
    doubled = np.rint(2 * midranks(y)).astype(np.int64)  # midranks are halves
    level = 2 * np.arange(y.shape[1]) - (y.shape[1] - 1)  # centred and doubled, so that all sums are integers
    total = int((doubled @ level).sum())
    distribution = np.ones(1)
    for row in doubled:
        distribution = np.convolve(distribution, _block_distribution(tuple(sorted(row.tolist()))))
    value = np.arange(len(distribution)) - len(distribution) // 2
    deviation = float(np.sqrt((distribution * value**2).sum()))
    p = float(distribution[np.abs(value) >= abs(total)].sum())
    return SignedP(min(1.0, p), total / deviation if deviation > 0 else 0.0)


@lru_cache(maxsize=4096)
def _block_distribution(ranks: tuple[int, ...]) -> Array:
    """Probabilities of `sum_l level_l rank_l` on -m..m over all orders of these (doubled) ranks; symmetric."""
    level = 2 * np.arange(len(ranks)) - (len(ranks) - 1)
    sums = np.array(ranks)[_orders(len(ranks))] @ level
    widest = int(np.abs(sums).max())
    return np.bincount(sums + widest, minlength=2 * widest + 1) / len(sums)


@lru_cache(maxsize=EXACT_LEVELS)
def _orders(k: int) -> np.ndarray:
    return np.array(list(permutations(range(k))), dtype=np.int64)


def blocked(blocks: Sequence[Array], weights: Sequence[Array], seed: int, resamples: int = 9_999) -> SignedP:
    """Permutation test of the contrast of ranks within blocks, summed over groups of blocks.

    `T = sum over groups g, seeds s of sum_j w_gj r_gsj`, r the midranks of a block with mean 0 and variance 1. The
    values of each block are permuted, each block on its own, `resamples` times.

    Args:
        blocks: per group (n_g, m_g): one row per seed, all networks of that seed in the group.
        weights: per group (m_g,), summing to 0.
        seed: of the permutations.
        resamples: how many.

    Raises:
        UsageError: no groups, NaN, or weights that do not fit or do not sum to 0.
    """
    if not blocks or len(blocks) != len(weights):
        raise UsageError(f"expected as many weights as groups, at least one, got {len(weights)} and {len(blocks)}")
    rng = np.random.default_rng(seed)
    observed, variance, drawn = 0.0, 0.0, np.zeros(resamples)
    for y, w in zip(blocks, weights, strict=True):
        y = _table(y)
        if w.shape != y.shape[1:] or abs(w.sum()) > 1e-9 * np.abs(w).sum():
            raise UsageError(f"expected {y.shape[1]} weights that sum to 0, got {w.tolist()}")
        ranks = midranks(y) - (y.shape[1] + 1) / 2
        spread = ranks.std(1, keepdims=True)
        ranks = np.divide(ranks, spread, out=np.zeros_like(ranks), where=spread > 0)
        observed += float((ranks @ w).sum())
        variance += float(w @ w) * float((ranks**2).sum()) / (y.shape[1] - 1)
        for row in ranks:
            drawn += rng.permuted(np.broadcast_to(row, (resamples, len(row))), axis=1) @ w
    if variance == 0:
        return SignedP(1.0, 0.0)
    hits = int((np.abs(drawn) >= abs(observed) * (1 - 1e-9)).sum())  # rounding must not turn an equal into a smaller
    return SignedP((1 + hits) / (1 + resamples), observed / variance**0.5)


def jonckheere(groups: Sequence[Array], seed: int, resamples: int = 9_999) -> SignedP:
    """Jonckheere and Terpstra's trend test over independent groups, two-sided, by permutation.

    `J = sum over i < j of #(a in group i, b in group j, a < b) + ties / 2`. For levels whose networks share nothing
    (other seeds at each level); where seeds are shared, `page` is right and stronger.

    Args:
        groups: at least 2 arrays (n_l,), in the order of levels.
        seed: of the permutations.
        resamples: how many.

    Raises:
        UsageError: fewer than 2 groups, an empty group, or NaN.
    """
    values = [np.asarray(group, dtype=np.float64).ravel() for group in groups]
    if len(values) < 2 or any(len(group) == 0 or np.isnan(group).any() for group in values):
        raise UsageError(f"expected at least 2 groups of numbers, none empty, got sizes {[len(g) for g in values]}")
    level = np.repeat(np.arange(len(values)), [len(group) for group in values])
    pooled = np.concatenate(values)
    # J is the mean plus half of sum over pairs of sign(level difference) sign(value difference).
    signs = np.sign(pooled[:, None] - pooled[None, :])
    order = np.sign(level[:, None] - level[None, :]).astype(np.float64)
    observed = float((signs * order).sum()) / 4
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        shuffled = rng.permutation(len(pooled))
        drawn[i] = (signs[np.ix_(shuffled, shuffled)] * order).sum() / 4
    deviation = float(np.sqrt((drawn**2).mean()))
    hits = int((np.abs(drawn) >= abs(observed) - 1e-9).sum())
    return SignedP((1 + hits) / (1 + resamples), observed / deviation if deviation > 0 else 0.0)


def _table(y: Array) -> Array:
    y = np.asarray(y, dtype=np.float64)
    if y.ndim != 2 or y.shape[0] < 1 or y.shape[1] < 2 or np.isnan(y).any():
        raise UsageError(f"expected complete outcomes (seeds, levels) with at least 2 levels, got shape {y.shape}")
    return y
