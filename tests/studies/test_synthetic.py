"""Made tasks against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from brittle.errors import DataError
from brittle.evaluation.accuracy import clean_right
from brittle.studies.measures.accuracy import scored_under
from brittle.studies.synthetic import SIZES, SYNTHETIC, Clusters, linear, load_synthetic, spectrum, two_layer
from brittle.threats import Ball, ball

THREATS = [ball("linf", 0.02), ball("linf", 0.04), ball("l2", 0.1), ball("l2", 0.2)]


def agrees(share: float, n: int, truth: float) -> bool:
    """Whether a binomial test at one in ten thousand accepts the truth."""
    return bool(binomtest(round(share * n), n, truth).pvalue > 1e-4)


def test_the_linear_optimum_has_the_robust_accuracy_of_the_formula() -> None:
    problem, test = linear(), load_synthetic("linear").split("test")
    net = problem.network()
    right, _ = clean_right(net, test.x, test.y, 500)
    assert agrees(float(right.double().mean()), len(test), problem.robust_accuracy(problem.best(), None))
    scored = scored_under(net, test, [(f"{t.norm}@{t.epsilon:g}", t) for t in THREATS], seed=0).numbers
    for threat in THREATS:
        expected = problem.robust_accuracy(problem.best(), threat)
        assert 0.05 < expected < 0.99
        assert agrees(scored[f"robust.{threat.norm}@{threat.epsilon:g}"], len(test), expected)


def test_the_linear_formula_is_that_of_a_normal_score() -> None:
    problem = linear()
    mean, deviations, w = np.array(problem.mean), np.array(problem.deviations), np.ones(32)
    sigma = np.sqrt((w**2 * deviations**2).sum())
    assert problem.robust_accuracy(w, ball("linf", 0.01)) == pytest.approx(norm.cdf((mean.sum() - 0.32) / sigma))
    assert problem.robust_accuracy(w, ball("l2", 0.01)) == pytest.approx(
        norm.cdf((mean.sum() - 0.01 * 32**0.5) / sigma)
    )


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_no_other_linear_classifier_is_more_accurate(seed: int) -> None:
    problem = linear()
    other = problem.best() + np.random.default_rng(seed).normal(size=32) * np.abs(problem.best()).mean()
    assert problem.robust_accuracy(other, None) <= problem.robust_accuracy(problem.best(), None) + 1e-12


@pytest.mark.parametrize("threat", [ball("linf", 0.02), ball("l2", 0.08)], ids=["linf", "l2"])
def test_the_two_layer_truth_has_the_robust_accuracy_of_the_formula(threat: Ball) -> None:
    problem, test = two_layer(), load_synthetic("two-layer").split("test")
    scored = scored_under(problem.network(), test, [("it", threat)], seed=0).numbers
    expected = problem.known_accuracy(threat)
    assert 0.1 < expected < 0.9
    assert agrees(scored["robust.it"], len(test), expected)


def test_the_two_layer_truth_is_right_and_lines_are_not() -> None:
    problem, test = two_layer(), load_synthetic("two-layer").split("test")
    right, _ = clean_right(problem.network(), test.x, test.y, 500)
    assert float(right.double().mean()) > 0.999  # a label may turn by rounding to float32
    assert problem.known_accuracy(None) == 1.0
    x, y = test.x.double() - 0.5, 2.0 * test.y - 1
    found = torch.linalg.lstsq(x, y[:, None].double()).solution[:, 0]
    assert abs(float(((x @ found > 0) == (y > 0)).double().mean()) - 0.5) < 0.06


def test_the_nearest_mean_is_good_in_clusters() -> None:
    problem, test = spectrum(), load_synthetic("spectrum").split("test")
    assert isinstance(problem, Clusters)
    means = 0.5 + torch.tensor(problem.means)
    assert float((torch.cdist(test.x, means).argmin(1) == test.y).double().mean()) > 0.95
    rest = test.x - means[test.y]
    assert float(rest.std()) == pytest.approx(problem.deviation, rel=0.02)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_splits_are_fixed_disjoint_and_hardly_touch_the_box(name: str) -> None:
    first, again = load_synthetic(name), load_synthetic(name)
    hashes = [first.split(split).sha256() for split in SIZES]
    assert hashes == [again.split(split).sha256() for split in SIZES]
    rows = torch.cat([first.split(split).x for split in SIZES])
    assert len(rows.unique(dim=0)) == len(rows) == sum(SIZES.values())
    assert float(((rows == 0) | (rows == 1)).double().mean()) < 3e-3
    assert first.input_shape == (SYNTHETIC[name]().pixels,)
    assert int(first.split("test").y.max()) + 1 == len(first.classes)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(DataError, match=r"unknown made data 'cubic'.*linear, two-layer, spectrum"):
        load_synthetic("cubic")
