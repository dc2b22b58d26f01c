"""Rounding margins of matrices of linear forms, against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from brittle.bounds.form import Form, after, frobenius, identity, magnitude, plus, times
from brittle.operators.conv import ConvView
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.row_sums import mixed_norm
from brittle.operators.view import LinearView, size
from tests.cases import CONVOLUTIONS, normal
from tests.operators.reference import dense_of, exact_matrix, fractions

# Views whose products cancel: the rounding of T x is large beside |T||x|.
NARROW = normal(6, 2, seed=1)
CANCELLING = FactorisedView(
    DenseView(torch.cat([NARROW, -NARROW + 1e-12 * normal(6, 2, seed=2)], 1)),
    DenseView(normal(2, 5, seed=3).repeat(2, 1)),
)
FOLDED = CONVOLUTIONS["circular, tiny"]
VIEWS: dict[str, LinearView] = {
    "linear": DenseView(normal(4, 6, seed=4)),
    "convolution": ConvView(normal(2, 2, 2, 2, seed=5), (2, 3, 3), padding=((1, 0),)),
    "taps that meet one pixel": ConvView(FOLDED.weight[:2, :1], (1, 2, 3), padding=((2, 2),), padding_mode="circular"),
    "low-rank that cancels": CANCELLING,
}


def distance(form: Form, truth: np.ndarray) -> Fraction:
    """Squared Frobenius distance of the stored matrix from the true one, exactly."""
    stored, _ = form.written_out(len(truth))
    return ((fractions(stored) - truth) ** 2).sum()


def assert_covered(form: Form, truth: np.ndarray) -> None:
    assert distance(form, truth) <= Fraction(form.written_out(len(truth))[1]) ** 2


@pytest.mark.parametrize("name", VIEWS)
def test_a_product_and_its_error(name: str) -> None:
    view = VIEWS[name]
    spectral = view.spectral_norm().value
    exact = exact_matrix(view)
    first = after(view, identity(0.3), spectral)
    assert_covered(first, exact * Fraction(0.3))
    start = normal(size(view.in_shape), 3, seed=6)
    wrong = 1e-9 * normal(*start.shape, seed=7)
    form = after(view, Form(start + wrong, 0.0, frobenius(wrong) * 1.001), spectral)
    assert_covered(form, exact @ fractions(start))
    # Not only covered: the margin is the old error at its largest, and rounding that is small beside the parts.
    assert form.error <= 1.1 * spectral * frobenius(wrong) + 1e-13 * magnitude(view)


def test_products_that_cancel_need_the_magnitudes_of_their_parts() -> None:
    start = normal(5, 3, seed=8)
    form = after(CANCELLING, Form(start, 0.0, 0.0), CANCELLING.spectral_norm().value)
    exact = exact_matrix(CANCELLING) @ fractions(start)
    assert_covered(form, exact)
    # |T||M| itself, 10^-12 of the parts, would not have been enough
    naive = 2 * 2.0**-53 * float((dense_of(CANCELLING).abs() @ start.abs()).norm())
    assert distance(form, exact) > Fraction(naive) ** 2


@pytest.mark.parametrize("name", VIEWS)
def test_magnitude_bounds_the_products(name: str) -> None:
    view = VIEWS[name]
    match view:
        case FactorisedView():
            parts = dense_of(view.outer).abs() @ dense_of(view.inner).abs()
        case ConvView():
            kernel = ConvView(
                view.weight.abs(), view.in_shape, view.stride, view.padding, view.dilation, 1, view.padding_mode
            )
            parts = dense_of(kernel)
        case _:
            parts = dense_of(view).abs()
    assert float(torch.linalg.matrix_norm(parts, 2)) <= magnitude(view)
    if name in ("linear", "convolution"):  # nothing cancels: no looser than Schur's test but at borders
        assert magnitude(view) <= 1.5 * mixed_norm(view)


FACTORS = st.floats(-3, 3).filter(lambda s: s == 0 or abs(s) > 1e-100)


@given(FACTORS, FACTORS, st.booleans(), st.booleans(), st.integers(0, 99))
def test_multiples_and_sums(s: float, t: float, dense_a: bool, dense_b: bool, seed: int) -> None:
    a = Form(normal(3, 3, seed=seed), 0.0, 0.0) if dense_a else identity(0.7)
    b = Form(normal(3, 3, seed=seed + 100), 0.0, 0.0) if dense_b else identity(-1.1)
    exact_a, exact_b = (fractions(f.written_out(3)[0]) for f in (a, b))
    scaled = times(s, a)
    assert_covered(scaled, exact_a * Fraction(s))
    assert_covered(plus(scaled, times(t, b)), exact_a * Fraction(s) + exact_b * Fraction(t))
    assert (scaled.dense is None) == (not dense_a)


def test_errors_of_the_parts_add_up() -> None:
    a, b = Form(normal(2, 2, seed=1), 0.0, 3.0), Form(None, 2.0, 1.0)
    assert plus(a, b).error == pytest.approx(3 + 2**0.5)
    assert plus(b, b).error == pytest.approx(2.0)
    assert times(-2.0, a).error == pytest.approx(6.0)
    assert times(-2.0, b).error == pytest.approx(2.0)
    assert plus(a, b).dense is not None


def test_norms_include_the_error() -> None:
    lengths = torch.tensor([3.0, 4.0], dtype=torch.float64)
    m = torch.tensor([[1.0, -2.0], [0.0, 1.0]], dtype=torch.float64)
    form = Form(m, 0.0, 0.1)
    true: Tensor = torch.linalg.matrix_norm(m, 2)
    assert form.spectral() == pytest.approx(float(true) + 0.1)
    assert form.row_sums(lengths).tolist() == pytest.approx([11.5, 4.5])
    scalar = Form(None, -2.0, 0.1)
    assert scalar.spectral() == pytest.approx(2.1)
    assert scalar.row_sums(lengths).tolist() == pytest.approx([6.3, 8.4])


def test_numbers_beyond_float64_are_infinite() -> None:
    form = Form(torch.tensor([[inf, 0.0], [float("nan"), 1.0]], dtype=torch.float64), 0.0, 0.0)
    assert form.spectral() == inf
    assert form.row_sums(torch.ones(2, dtype=torch.float64)).tolist() == [inf, inf]
