"""Numbers as text: rounding, signs, and what must never be claimed by rounding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.report import format as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.843, "84.3%"),
        (1.0, "100.0%"),
        (0.0, "0.0%"),
        (0.9999, ">99.9%"),
        (0.0001, "<0.1%"),
        (None, "–"),
        (-0.05, "−5.0%"),
    ],
)
def test_percent(value: float | None, text: str) -> None:
    assert fmt.percent(value) == text


@given(st.floats(0, 1))
def test_percent_claims_all_or_none_only_when_it_is_so(value: float) -> None:
    assert (fmt.percent(value) == "100.0%") == (value == 1)
    assert (fmt.percent(value) == "0.0%") == (value == 0)


@pytest.mark.parametrize(
    ("value", "text"), [(3.24, "+3.2"), (-3.24, "−3.2"), (0.04, "0.0"), (-0.04, "0.0"), (None, "–")]
)
def test_points(value: float | None, text: str) -> None:
    assert fmt.points(value) == text


def test_intervals() -> None:
    assert fmt.percent_interval((0.82, 0.864)) == "[82.0, 86.4]"
    assert fmt.points_interval((-1.1, 5.3)) == "[−1.1, +5.3]"
    assert fmt.percent_interval(None) == fmt.points_interval(None) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.1234, "0.123"), (12.345, "12.35"), (123.45, "123.5"), (99999.0, "99,999"), (-2.5, "−2.500"),
        (1.234e7, "1.23 × 10⁷"), (1.2e-5, "1.20 × 10⁻⁵"), (-4e9, "−4.00 × 10⁹"), (None, "–"),
    ],
)  # fmt: skip
def test_number(value: float | None, text: str) -> None:
    assert fmt.number(value) == text


@given(st.floats(1e-30, 1e30))
def test_a_number_reads_back_to_two_digits(value: float) -> None:
    digits = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
    text = fmt.number(value).replace(",", "").replace(" × 10", "e").translate(digits)
    assert float(text) == pytest.approx(value, rel=0.005 if value >= 0.1 or value < 1e-3 else 0.5)


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "0.05"), (8 / 255, "8/255"), (0.5, "0.5"), (1.0, "1"), (1 / 255, "1/255"), (3.0, "3")]
)
def test_epsilon(value: float, text: str) -> None:
    assert fmt.epsilon(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.001, "<0.01 s"), (0.04, "0.04 s"), (3.21, "3.2 s"), (12.4, "12 s"), (130, "2 min 10 s"), (3900, "1 h 05 min")],
)
def test_seconds(value: float, text: str) -> None:
    assert fmt.seconds(value) == text


def test_small_words() -> None:
    assert fmt.threat("linf", 0.05) == "ℓ∞ ε = 0.05"
    assert fmt.norm("l2") == "ℓ₂"
    assert fmt.norm("lp") == "lp"
    assert fmt.shape((16, 3, 3)) == "16 × 3 × 3"
    assert fmt.status("upper_bound") == "upper bound"
    assert fmt.bounded(12.345, "upper_bound") == "≤ 12.35"
    assert fmt.bounded(2.0, "exact") == "= 2.000"
    assert fmt.bounded(None, "exact") == "–"
    assert fmt.plural(1, "net") == "1 net"
    assert fmt.plural(1200, "net") == "1,200 nets"
    assert fmt.logs(0.693) == "+0.69"
    assert fmt.logs(-0.001) == "0.00"
    assert fmt.logs(None) == "–"
    assert fmt.factor(1.824) == "×1.82"
    assert fmt.factor(123456.0) == "×1.23 × 10⁵"
    assert fmt.count(12345) == "12,345"
