"""Rounding margins: sides never cross the truth where it is known exactly, at every scale."""

from __future__ import annotations

from fractions import Fraction
from math import fsum, inf, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.errors import ModelError
from brittle.operators.rounding import (
    above,
    below,
    gamma,
    gram_norm,
    gram_sandwich,
    gram_values,
    largest_magnitude,
    norm_bound,
    scaled_back,
    squarable,
    unit_scaled,
)
from tests.cases import normal


def test_gamma_is_highams_constant_and_infinite_beyond_its_range() -> None:
    assert gamma(0) == 0.0
    assert gamma(10) == pytest.approx(10 * 2.0**-53, rel=1e-12)
    assert gamma(10) > 10 * 2.0**-53
    assert gamma(2.0**53) == inf


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=50))
def test_above_and_below_enclose_the_exact_sum(values: list[float]) -> None:
    running = 0.0
    for v in values:
        running += v
    exact = fsum(values)  # correctly rounded
    assert below(running, len(values)) <= exact <= above(running, len(values))


def test_an_exact_zero_stays_zero() -> None:
    assert above(0.0, 100) == 0.0
    assert below(0.0, 100) == 0.0


def test_below_never_goes_under_zero() -> None:
    assert below(5e-324, 10) == 0.0


def test_norm_bound_says_exact_only_when_both_sides_agree() -> None:
    assert norm_bound(1.0, 1.0 + 1e-10).status == "exact"
    assert norm_bound(1.0, 1.0 + 1e-8).status == "upper_bound"
    assert norm_bound(0.0, 0.0).status == "exact"
    assert norm_bound(2.0, 1.0).lower == 1.0


@pytest.mark.parametrize("exponent", [-1074, -1000, -300, 0, 300, 1023])
def test_unit_scaling_is_exact_at_every_scale(exponent: int) -> None:
    matrix = torch.tensor([[2.0**exponent, -(2.0 ** (exponent - 1)) if exponent > -1074 else 0.0]], dtype=torch.float64)
    scaled, e = unit_scaled(matrix)
    assert 0.5 <= float(scaled.abs().max()) < 1
    assert e == exponent + 1
    assert scaled[0, 0] == 0.5


def test_scaled_back_covers_the_ends_of_the_range() -> None:
    low, high = scaled_back(0.75, 0.75, 10)
    assert low <= 768.0 <= high
    assert high - low < 1e-12 * 768
    assert scaled_back(0.75, 0.75, 2000)[1] == inf
    assert scaled_back(0.0, 0.0, 5) == (0.0, 0.0)
    assert scaled_back(0.0, 0.75, -2000)[1] > 0


@pytest.mark.parametrize("scale", [2.0**-1070, 1e-200, 1.0, 1e150, 1e300])
@pytest.mark.parametrize(("h", "d"), [(4, 9), (1, 1), (16, 25), (100, 49), (400, 4), (400, 400)])
def test_gram_sandwich_holds_the_norm_of_a_constant_matrix(h: int, d: int, scale: float) -> None:
    lower, upper = gram_sandwich(torch.full((h, d), scale, dtype=torch.float64))
    truth = scale * int(sqrt(h * d))  # ||1 1^t|| = sqrt(h d), a whole number here
    assert lower <= truth <= upper
    assert upper - lower <= 1e-11 * truth + 1e-322


@pytest.mark.parametrize("seed", range(30))
def test_gram_sandwich_holds_the_exact_norm_of_integer_rank_one_matrices(seed: int) -> None:
    a, b = (normal(n, seed=seed + n).mul(1e5).round() for n in (60, 300))
    lower, upper = gram_sandwich(a[:, None] * b)
    exact = sum(int(v) ** 2 for v in a) * sum(int(v) ** 2 for v in b)  # ||a b^t||_2^2 = |a|^2 |b|^2
    assert Fraction(lower) ** 2 <= exact <= Fraction(upper) ** 2


def test_gram_margin_is_at_least_highams_bound_for_the_products() -> None:
    lower, upper = gram_sandwich(torch.ones(4, 400, dtype=torch.float64))
    assert upper >= 40 * (1 + gamma(400))
    assert lower <= 40 * (1 - gamma(400))


@pytest.mark.parametrize("n", [2, 16, 256])
def test_gram_sandwich_holds_the_norm_of_hadamard_matrices(n: int) -> None:
    h = torch.ones(1, 1, dtype=torch.float64)
    while len(h) < n:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    lower, upper = gram_sandwich(h)
    assert lower <= sqrt(n) * (1 + 1e-15)  # all n singular values meet: the hardest case for the margin
    assert upper >= sqrt(n) * (1 - 1e-15)
    assert upper - lower <= 1e-10 * upper


def test_gram_sandwich_of_a_batch_is_the_largest() -> None:
    batch = normal(5, 7, 3, seed=0)
    truth = float(torch.linalg.matrix_norm(batch, 2).max())
    lower, upper = gram_sandwich(batch)
    assert lower == pytest.approx(truth, rel=1e-12)
    assert upper == pytest.approx(truth, rel=1e-12)


def test_gram_norm_is_above_for_tall_and_wide() -> None:
    for shape in [(30, 5), (5, 30), (20, 20)]:
        a = normal(*shape, seed=1)
        truth = float(torch.linalg.svdvals(a)[0])
        assert truth <= gram_norm(a) <= truth * (1 + 1e-11)


def test_zero_and_empty_matrices_have_norm_zero() -> None:
    assert gram_sandwich(torch.zeros(3, 4, dtype=torch.float64)) == (0.0, 0.0)
    assert gram_sandwich(torch.zeros(0, 4, dtype=torch.float64)) == (0.0, 0.0)


@pytest.mark.parametrize("value", [inf, float("nan")])
def test_infinite_weights_are_refused(value: float) -> None:
    with pytest.raises(ModelError, match="expected finite weights, got NaN or infinity"):
        gram_norm(torch.tensor([[1.0, value]]))


@pytest.mark.parametrize("n", [255, 256, 257, 515])
def test_the_lower_half_of_a_large_gram_matrix_is_all_that_is_needed(n: int) -> None:
    a = normal(n, 2 * n + 3, seed=n)
    found = gram_values(a)
    truth = torch.linalg.svdvals(a).square().flip(0)
    assert float((found.values - truth).abs().max()) <= found.error + 1e-12 * float(truth[-1])
    assert float(found.trace) == pytest.approx(float(a.square().sum()), rel=1e-12)
    assert gram_values(a.T).values.shape == (n,)


def test_squares_that_stay_in_range_are_not_rescaled() -> None:
    w = normal(3, 4, seed=0)
    same, exponent, frobenius = squarable(w)
    assert same is w
    assert exponent == 0
    assert frobenius == pytest.approx(float(w.norm()))
    for scale in (1e-300, 1e300):
        scaled, exponent, frobenius = squarable(w * scale)
        assert torch.allclose(torch.ldexp(scaled, torch.tensor(exponent)), w * scale, rtol=1e-12, atol=0)
        assert 0.4 < float(scaled.abs().max()) < 1
        assert frobenius == pytest.approx(float(scaled.norm()))
    assert squarable(torch.zeros(2, 2, dtype=torch.float64))[1:] == (0, 0.0)
    with pytest.raises(ModelError, match="expected finite weights"):
        squarable(torch.tensor([[1.0, float("inf")]], dtype=torch.float64))


def test_the_largest_magnitude_of_anything() -> None:
    assert largest_magnitude(torch.tensor([1.0, -3.0])) == 3.0
    assert largest_magnitude(torch.zeros(0)) == 0.0
    with pytest.raises(ModelError, match="NaN or infinity"):
        largest_magnitude(torch.tensor([1.0, float("nan")]))
