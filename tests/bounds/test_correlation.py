"""Coefficients against scipy, their intervals' meaning, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from brittle.bounds.correlation import NetGap, correlate, correlations
from brittle.errors import UsageError


def family(n: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    bound = rng.lognormal(size=n)
    return bound, bound + noise * rng.normal(size=n)


def rows(n: int = 12) -> list[NetGap]:
    found = []
    for rung, noise in (("product", 1.0), ("loop", 0.1)):
        for norm in ("linf", "l2"):
            bound, gap = family(n, 3, noise)
            found += [
                NetGap(f"net{i}", i % 3 == 0, rung, norm, float(b), float(g))
                for i, (b, g) in enumerate(zip(bound, gap, strict=True))
            ]
    return found


@pytest.mark.parametrize("noise", [0.0, 0.5, 5.0])
def test_values_are_scipys(noise: float) -> None:
    bound, gap = family(25, 0, noise)
    gap[3] = gap[4]  # ties share a rank
    pearson, spearman = correlate(bound, gap, seed=0)
    assert pearson.value == pytest.approx(stats.pearsonr(bound, gap).statistic, abs=1e-12)
    assert spearman.value == pytest.approx(stats.spearmanr(bound, gap).statistic, abs=1e-12)


@pytest.mark.parametrize("which", [0, 1])
def test_intervals_are_scipys_percentile_bootstrap(which: int) -> None:
    bound, gap = family(20, 1, 0.7)
    ours = correlate(bound, gap, seed=0, resamples=4000)[which]
    statistic = (stats.pearsonr, stats.spearmanr)[which]
    theirs = stats.bootstrap(
        (bound, gap), lambda x, y: statistic(x, y).statistic, paired=True, vectorized=False, n_resamples=1500,
        method="percentile", rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert ours.interval95 == pytest.approx((theirs.low, theirs.high), abs=0.04)


def test_perfect_order_and_constant_sides() -> None:
    x = np.arange(1.0, 11.0)
    pearson, spearman = correlate(x, x**3, seed=0)
    assert pearson.value is not None
    assert pearson.value < 1.0
    assert spearman.value == pytest.approx(1.0)
    assert spearman.interval95 == pytest.approx((1.0, 1.0))
    assert correlate(x, -x, seed=0)[0].value == pytest.approx(-1.0)
    assert correlate(x, np.ones(10), seed=0)[0].value is None
    assert correlate(x, np.ones(10), seed=0)[1].interval95 is None


def test_units_do_not_matter_even_huge_ones() -> None:
    bound, gap = family(15, 2, 0.5)
    plain, huge = (correlate(b, gap, seed=0) for b in (bound, bound * 1e300))
    assert huge[0].value == pytest.approx(plain[0].value, abs=1e-12)


def test_groups_are_held_free_and_pooled_for_every_rung_and_norm() -> None:
    found = correlations(rows(), seed=0, resamples=50)
    assert [(c.rung, c.norm, c.group, c.n) for c in found[:3]] == [
        ("product", "linf", "scale held", 4), ("product", "linf", "scale free", 8), ("product", "linf", "pooled", 12),
    ]  # fmt: skip
    assert len(found) == 2 * 2 * 3
    bound, gap = family(12, 3, 1.0)
    held = np.arange(12) % 3 == 0
    assert found[0].pearson.value == pytest.approx(stats.pearsonr(bound[held], gap[held]).statistic)
    assert found[1].spearman.value == pytest.approx(stats.spearmanr(bound[~held], gap[~held]).statistic)
    assert found == correlations(rows(), seed=0, resamples=50)


def test_groups_too_small_for_a_coefficient_are_left_out() -> None:
    assert [c.group for c in correlations(rows(5)[:5], seed=0, resamples=10)] == ["scale free", "pooled"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "need rows and resamples >= 1, got 0 rows"),
        ([replace(rows()[0], bound=float("inf"))], "need finite numbers, got bound inf"),
        ([replace(rows()[0], gap=float("nan"))], "gap nan of net0"),
        (rows()[:1] * 2, "got net0 twice for product, linf"),
    ],
)
def test_what_has_no_correlation_is_refused(bad: list[NetGap], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        correlations(bad, seed=0)
