from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from brittle.errors import UsageError
from brittle.evaluation.intervals import paired_drop_interval, samples_for_half_width, two_level_interval, wilson

ONES = np.ones(50, dtype=bool)


@given(n=st.integers(1, 5000), share=st.floats(0, 1), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_ends_solve_the_score_equation(n, share, level):
    k = round(share * n)
    z = stats.norm.ppf((1 + level) / 2)
    for end, there in zip(wilson(k, n, level), (k > 0, k < n), strict=True):
        if there:  # |k/n - p| = z sqrt(p (1 - p) / n) defines both ends
            assert abs(k / n - end) == pytest.approx(z * sqrt(end * (1 - end) / n), rel=1e-6, abs=1e-9)
    low, high = wilson(k, n, level)
    assert 0 <= low <= k / n <= high <= 1


def outcomes(rng, n, lost, gained):
    """Base and child on n samples; the shares of lost and gained samples are the truth."""
    u = rng.random(n)
    return ~((u >= lost) & (u < lost + gained)), ~(u < lost)


@pytest.mark.parametrize("n", [30, 100, 400])
@pytest.mark.parametrize(
    ("lost", "gained"), [(0.0, 0.0), (0.02, 0.0), (0.05, 0.05), (0.1, 0.02), (0.3, 0.3), (0.6, 0.05)]
)
def test_paired_interval_covers_the_true_drop_as_often_as_it_says(n, lost, gained):
    rng = np.random.default_rng(n)
    trials, hits = 400, 0
    for trial in range(trials):
        low, high = paired_drop_interval(*outcomes(rng, n, lost, gained), seed=trial, resamples=1000)
        hits += low - 1e-9 <= 100 * (lost - gained) <= high + 1e-9
    # 400 trials of an honest 95 % interval fall below 91.5 % with a chance under 0.2 %.
    assert hits / trials >= 0.915


def test_paired_interval_is_not_wider_than_it_must_be():
    rng = np.random.default_rng(0)
    low, high = paired_drop_interval(*outcomes(rng, 20_000, 0.1, 0.04), seed=0)
    assert high - low == pytest.approx(2 * 196 * sqrt((0.14 - 0.06**2) / 20_000), rel=0.05)
    assert (high + low) / 2 == pytest.approx(6, abs=0.6)


@pytest.mark.parametrize("n", [30, 300, 3000])
def test_no_discordant_pair_is_not_certainty(n):
    low, high = paired_drop_interval(np.ones(n, bool), np.ones(n, bool), seed=0)
    assert high == pytest.approx(300 / n, rel=0.15)  # the rule of three
    assert low == pytest.approx(-300 / n, rel=0.15)


def test_swapping_base_and_child_swaps_the_sign():
    base, child = outcomes(np.random.default_rng(1), 500, 0.2, 0.05)
    low, high = paired_drop_interval(base, child, seed=0)
    assert 0 < low < 15 < high
    assert paired_drop_interval(child, base, seed=0) == pytest.approx((-high, -low), abs=0.5)


def test_a_higher_level_is_wider_and_the_seed_decides():
    pair = outcomes(np.random.default_rng(1), 500, 0.2, 0.05)
    ends = {level: paired_drop_interval(*pair, seed=0, level=level) for level in (0.8, 0.99)}
    assert ends[0.99][0] < ends[0.8][0] < ends[0.8][1] < ends[0.99][1]
    assert paired_drop_interval(*pair, seed=0) == paired_drop_interval(*pair, seed=0)
    many = {paired_drop_interval(*pair, seed=seed, resamples=50) for seed in range(5)}
    assert len(many) > 1


def test_the_order_of_samples_does_not_matter():
    base, child = outcomes(np.random.default_rng(1), 200, 0.2, 0.05)
    order = np.random.default_rng(2).permutation(200)
    assert paired_drop_interval(base, child, seed=3) == paired_drop_interval(base[order], child[order], seed=3)


def test_samples_for_half_width_gives_that_width():
    rng = np.random.default_rng(4)
    n = samples_for_half_width(*outcomes(rng, 4000, 0.1, 0.03), half_width=1.5)
    low, high = paired_drop_interval(*outcomes(rng, n, 0.1, 0.03), seed=0)
    assert (high - low) / 2 == pytest.approx(1.5, rel=0.1)


def test_half_the_width_needs_four_times_the_samples():
    pair = outcomes(np.random.default_rng(4), 1000, 0.1, 0.03)
    assert samples_for_half_width(*pair, half_width=1) == pytest.approx(
        4 * samples_for_half_width(*pair, half_width=2), rel=0.01
    )
    assert samples_for_half_width(ONES, ONES, half_width=1000.0) == 1


@pytest.mark.parametrize("repeats", [3, 6])
def test_two_level_interval_covers_repeats_and_samples(repeats):
    rng = np.random.default_rng(repeats)
    n, trials, hits, flat = 150, 300, 0, 0
    for trial in range(trials):
        # Each repeat has its own loss rate (training noise), each sample its own hardness: both are random.
        hardness = rng.beta(1, 4, n)
        rate = np.clip(hardness[None] + rng.normal(0, 0.06, (repeats, 1)), 0, 1)
        child = rng.random((repeats, n)) >= rate
        base = np.ones_like(child)
        truth = 20.35  # mean of clip(beta(1, 4) + normal(0, 0.06), 0, 1), by the integral below
        low, high = two_level_interval(base, child, seed=trial, resamples=600)
        hits += low <= truth <= high
        low, high = paired_drop_interval(base[0], child[0], seed=trial, resamples=600)
        flat += low <= truth <= high
    assert hits / trials >= 0.92
    assert flat < hits


def test_the_truth_used_for_two_levels():
    h = (np.arange(4000) + 0.5) / 4000
    z = stats.norm.ppf((np.arange(2000) + 0.5) / 2000) * 0.06
    inner = np.array([np.clip(value + z, 0, 1).mean() for value in h])
    assert 100 * np.average(inner, weights=stats.beta.pdf(h, 1, 4)) == pytest.approx(20.35, abs=0.1)


def test_two_levels_of_identical_repeats_is_the_paired_interval():
    base, child = outcomes(np.random.default_rng(5), 300, 0.2, 0.05)
    both = two_level_interval(np.stack([base] * 4), np.stack([child] * 4), seed=0)
    assert both == pytest.approx(paired_drop_interval(base, child, seed=0), abs=0.5)


def test_two_levels_without_discordant_pairs_is_not_certainty():
    low, high = two_level_interval(np.ones((5, 300), bool), np.ones((5, 300), bool), seed=0)
    assert (low, high) == pytest.approx((-1, 1), rel=0.15)  # the rule of three, one for each sample


def test_scatter_of_repeats_widens_the_interval_by_student_s_factor():
    child = np.ones((2, 1000), dtype=bool)
    child[1, :500] = False  # one child lost nothing, the other half: drops of 0 and 50 points
    low, high = two_level_interval(np.ones_like(child), child, seed=0)
    assert (low, high) == (-100.0, 100.0)  # 12.7 * 25 points: two repeats say next to nothing


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 40))
def test_intervals_hold_the_estimate(seed, repeats, n):
    rng = np.random.default_rng(seed)
    base, child = rng.random((2, repeats, n)) < rng.random(2)[:, None, None]
    drop = 100 * (base.mean() - child.mean())
    low, high = two_level_interval(base, child, seed=seed, resamples=500)
    assert -100 <= low <= drop + 1e-9
    assert drop - 1e-9 <= high <= 100


def test_bad_input_is_refused():
    with pytest.raises(UsageError, match="successes=6, n=5"):
        wilson(6, 5)
    with pytest.raises(UsageError, match="successes=0, n=0"):
        wilson(0, 0)
    for call in (
        lambda: wilson(1, 2, level=1.0),
        lambda: paired_drop_interval(ONES, ONES, seed=0, level=0.0),
        lambda: two_level_interval(ONES, ONES, seed=0, level=95),
        lambda: samples_for_half_width(ONES, ONES, 1.0, level=-1),
    ):
        with pytest.raises(UsageError, match=r"a confidence level is in \(0, 1\)"):
            call()
    for base, child in ((ONES, ONES[:-1]), (ONES.astype(int), ONES), (ONES[:0], ONES[:0])):
        with pytest.raises(UsageError, match="expected two boolean arrays of one shape"):
            paired_drop_interval(base, child, seed=0)
    with pytest.raises(UsageError, match="use two_level_interval for repeats"):
        paired_drop_interval(ONES[None], ONES[None], seed=0)
    with pytest.raises(UsageError, match="at least 2 repeats"):
        two_level_interval(ONES[None], ONES[None], seed=0)
    with pytest.raises(UsageError, match="half width is a positive number"):
        samples_for_half_width(ONES, ONES, 0.0)
