"""Whether verdicts are wrong as rarely as they say, on made outcomes. `benchmarks.calibration` runs the full count."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.calibration import NO_EFFECT, NOISES, growing, independent, made_cells, simulate, walk
from scipy import stats

from brittle.studies.statistics.designs import Trends
from brittle.studies.statistics.trend import page
from tests.studies.statistics.made import table

RUNS = 400


def most(share, runs):
    """Hits that a true rate of `share` exceeds once in ten thousand test runs."""
    return stats.binom.ppf(1 - 1e-4, runs, share)


def p_values(noise, cells, runs=RUNS):
    """p of robust accuracy alone over cells that share their dense networks: without an effect."""
    rng = np.random.default_rng(5)
    p = []
    for run in range(runs):
        made = made_cells(rng, NO_EFFECT, noise, cells)
        tables = [table({"y": robust}, name=str(i), pool="dense") for i, (robust, _) in enumerate(made)]
        p.append(Trends().test(tables, "y", run, 199).p)
    return np.array(p)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
@pytest.mark.parametrize("cells", [1, 4])
def test_p_values_are_no_smaller_than_they_say(noise, cells):
    assert (p_values(noise, cells) <= 0.05).sum() <= most(0.05, RUNS)


def test_page_alone_would_be_wrong_where_levels_follow_each_other():
    rng = np.random.default_rng(5)
    hits = sum(page(made_cells(rng, NO_EFFECT, walk, 1)[0][0], 0).p <= 0.05 for _ in range(RUNS))
    assert hits > most(0.05, RUNS)


@pytest.mark.parametrize("noise", [independent, walk])
def test_few_studies_without_an_effect_find_one(noise):
    rates = simulate(noise, effect=False, studies=12, seed=1)
    assert rates.false_claims * 144 <= most(0.06, 144)
    assert rates.family * 12 <= most(0.05, 12)


@pytest.mark.parametrize("noise", [independent, walk, growing])
def test_the_effect_of_low_rank_is_found_among_twelve_claims(noise):
    rates = simulate(noise, effect=True, studies=12, seed=2)
    assert rates.found * 12 >= 12 - most(0.05, 12)


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
def test_a_thousand_studies(noise):
    none = simulate(noise, effect=False, studies=1000, seed=3)
    assert none.false_claims <= 0.06
    assert none.family <= 0.05
    assert simulate(noise, effect=True, studies=400, seed=4).found >= 0.95
