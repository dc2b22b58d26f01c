"""Alignment of two layers: lower <= exact <= upper, the exact value by plain enumeration, the paper's top-k form."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brittle.bounds.alignment import alignment, exact_alignment, lower_alignment, upper_alignment
from brittle.bounds.diagonal_scaling import scaled_product
from brittle.bounds.top_k import top_k_alignment
from brittle.errors import UsageError
from brittle.operators.activations import Slopes
from tests.cases import normal

NORMS = ("linf", "l2")
SLOPES = (Slopes(0.0, 1.0), Slopes(0.01, 1.0), Slopes(-0.13, 1.13), Slopes(0.0, 0.25))


def reference_norm(matrix: Tensor, norm: str) -> float:
    return float(matrix.abs().sum(1).max() if norm == "linf" else torch.linalg.svdvals(matrix)[0])


def reference(a: Tensor, b: Tensor, norm: str, slopes: Slopes = SLOPES[0]) -> float:
    """max over the corners D of the slopes' cube, one product at a time, over the product of norms."""
    corners = product((slopes.low, slopes.high), repeat=a.shape[1])
    best = max(reference_norm(a @ torch.diag(torch.tensor(d, dtype=torch.float64)) @ b, norm) for d in corners)
    steepest = max(abs(slopes.low), abs(slopes.high))
    return best / (steepest * reference_norm(a, norm) * reference_norm(b, norm))


def made_pair(seed: int) -> tuple[Tensor, Tensor]:
    """Small layers of awkward kinds: wide, tall, of rank one, with dead units, of extreme scale."""
    m, h, n = (1 + seed * p % q for p, q in ((7, 5), (5, 6), (11, 7)))
    a, b = normal(m, h, seed=seed), normal(h, n, seed=seed + 1)
    if seed % 5 == 1:
        a = a[:, :1] @ normal(1, h, seed=seed + 2)
    if seed % 5 == 2 and h > 1:
        a[:, 0], b[-1] = 0.0, 0.0
    if seed % 5 == 3:
        b = b * 1e-9
    if seed % 5 == 4:
        b = b * torch.logspace(-3, 3, h, dtype=torch.float64)[:, None]
    return a, b


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 10_000), kind=st.integers(0, len(SLOPES) - 1))
@settings(max_examples=60, deadline=None)
def test_bounds_hold_the_enumerated_maximum(norm: str, seed: int, kind: int) -> None:
    a, b = made_pair(seed)
    if not (bool(a.any()) and bool(b.any())):
        return
    slopes = SLOPES[kind]
    truth = reference(a, b, norm, slopes)
    low, high = exact_alignment(a, b, norm, slopes=slopes)
    assert low <= truth * (1 + 1e-12)
    assert high >= truth * (1 - 1e-12)
    assert high - low <= 1e-9
    assert lower_alignment(a, b, norm, slopes=slopes) <= truth * (1 + 1e-12)
    upper = upper_alignment(a, b, norm, slopes=slopes)
    assert truth * (1 - 1e-12) <= upper <= 1.0
    for k in range(1, a.shape[1] + 2):
        assert top_k_alignment(a, b, k, norm, slopes=slopes).value >= truth * (1 - 1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_slopes_between_the_ends_reach_no_more(norm: str) -> None:
    a, b = normal(4, 7, seed=1), normal(7, 5, seed=2)
    top = exact_alignment(a, b, norm)[1] * reference_norm(a, norm) * reference_norm(b, norm)
    for d in torch.rand(300, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        assert reference_norm((a * d) @ b, norm) <= top * (1 + 1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_diagonal_layers_have_closed_forms(norm: str) -> None:
    """||diag(a) D diag(b)|| = max a_i b_i in both norms."""
    a, b = torch.tensor([1.0, 3.0, 2.0]).double(), torch.tensor([5.0, 1.0, 2.0]).double()
    truth = 5.0 / (3.0 * 5.0)
    low, high = exact_alignment(a.diag(), b.diag(), norm)
    assert low == pytest.approx(truth, rel=1e-9)
    assert high == pytest.approx(truth, rel=1e-9)
    # diagonal scaling and the componentwise loop are exact here; the plain loop gives (1/3 + 1) / 2
    assert upper_alignment(a.diag(), b.diag(), norm) == pytest.approx(truth, rel=2e-2 if norm == "l2" else 1e-9)
    assert lower_alignment(a.diag(), b.diag(), norm) == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_layers_that_agree_on_their_leading_unit_are_fully_aligned(norm: str) -> None:
    a, b = torch.diag(torch.tensor([4.0, 1.0, 1.0])).double(), torch.diag(torch.tensor([7.0, 2.0, 0.5])).double()
    assert alignment(a, b, norm, names=("b", "a")).value == pytest.approx(1.0, abs=1e-9)


def test_pairs_that_never_meet_have_alignment_zero() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0], [1.0]])
    for norm in NORMS:
        found = alignment(a, b, norm, names=("outer", "inner"))
        assert (found.value, found.lower, found.status) == (0.0, 0.0, "exact")
        assert lower_alignment(a, b, norm) == upper_alignment(a, b, norm) == 0.0


@pytest.mark.parametrize("norm", NORMS)
def test_wide_pairs_get_a_sandwich_that_no_sampled_slopes_leave(norm: str) -> None:
    a, b = normal(10, 60, seed=3), normal(60, 30, seed=4)
    found = alignment(a, b, norm, names=("fc2", "fc1"))
    assert found.status == "upper_bound"
    assert 0 < found.lower < found.value < 1
    scale = reference_norm(a, norm) * reference_norm(b, norm)
    generator = torch.Generator().manual_seed(5)
    drawn = [(a * torch.randint(0, 2, (60,), generator=generator)) @ b for _ in range(200)]
    best = max(reference_norm(m, norm) for m in drawn) / scale
    assert best <= found.value
    assert found.lower > best  # the ascent finds more than 200 random choices


@pytest.mark.parametrize(("norm", "loosest"), [("l2", 1.12), ("linf", 1.6)])
def test_bounds_are_as_tight_as_the_theory_measured(norm: str, loosest: float) -> None:
    """On random pairs with 10 hidden units: 1.05 (l_2) and 1.30 (l_inf) on average; ascent nearly gets there."""
    ups, downs = [], []
    for seed in range(8):
        a, b = normal(8, 10, seed=seed), normal(10, 8, seed=seed + 50)
        truth = exact_alignment(a, b, norm)[0]
        ups.append(upper_alignment(a, b, norm) / truth)
        downs.append(lower_alignment(a, b, norm) / truth)
    assert sum(ups) / 8 < loosest
    assert sum(downs) / 8 > 0.97


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_scaling_beats_the_plain_product_and_never_undercuts(seed: int) -> None:
    a, b = normal(5, 6, seed=seed), normal(6, 4, seed=seed + 1)
    value = scaled_product(a, b)
    assert value <= reference_norm(a, "l2") * reference_norm(b, "l2") * (1 + 1e-9)
    # any diagonal D with |D| <= 1 lies below min_T ||A T|| ||T^-1 B||
    signs = torch.randint(0, 2, (40, 6), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    assert value >= max(reference_norm((a * s) @ b, "l2") for s in signs) * (1 - 1e-12)


def test_scaling_finds_the_optimum_of_a_diagonal_pair() -> None:
    """min_T max_i a_i t_i max_i b_i / t_i = max a_i b_i, at t_i = 1 / a_i."""
    a, b = torch.tensor([1.0, 30.0, 2.0]).double(), torch.tensor([50.0, 1.0, 2.0]).double()
    assert scaled_product(a.diag(), b.diag()) == pytest.approx(50.0, rel=1e-2)


@pytest.mark.parametrize("norm", NORMS)
def test_remainder_falls_with_k_and_vanishes_when_everything_is_kept(norm: str) -> None:
    a, b = normal(6, 20, seed=1), normal(20, 9, seed=2)
    found = [top_k_alignment(a, b, k, norm) for k in (1, 3, 6, 9, 20)]
    remainders = [f.remainder for f in found]
    assert remainders == sorted(remainders, reverse=True)
    assert remainders[-1] < 1e-12
    assert found[-1].value == pytest.approx(upper_alignment(a, b, norm), rel=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_top_k_of_compressible_layers_needs_few_terms(norm: str) -> None:
    """Two dominant rows, or directions, and a tail of size 1e-6: R_p is about that size and the value tight."""
    a, b = normal(6, 12, seed=1), normal(12, 9, seed=2)
    if norm == "l2":
        a, b = normal(6, 2, seed=3) @ normal(2, 12, seed=4), normal(12, 2, seed=5) @ normal(2, 9, seed=6)
    else:
        a[2:], b[2:] = 0.0, 0.0
    a, b = a + 1e-6 * normal(6, 12, seed=7), b + 1e-6 * normal(12, 9, seed=8)
    found = top_k_alignment(a, b, 2, norm)
    assert found.remainder < 1e-4
    assert reference(a, b, norm) <= found.value
    if norm == "linf":  # two units are enumerated, so the main part is the truth
        assert found.value <= reference(a, b, norm) + 1e-4


@pytest.mark.parametrize(
    ("shapes", "norm", "message"),
    [
        (
            ((2, 3), (4, 2)),
            "l2",
            r"needs an outer matrix \(m, h\) and an inner one \(h, n\), got \(2, 3\) and \(4, 2\)",
        ),
        (((2, 3), (3,)), "l2", "needs an outer matrix"),
        (((2, 3), (3, 2)), "l1", "unknown norm 'l1': expected one of linf, l2"),
    ],
)
def test_what_is_no_pair_is_refused(shapes: tuple[tuple[int, ...], ...], norm: str, message: str) -> None:
    a, b = (torch.ones(shape) for shape in shapes)
    for function in (exact_alignment, lower_alignment, upper_alignment):
        with pytest.raises(UsageError, match=message):
            function(a, b, norm)


def test_zero_layers_and_too_many_units_are_refused() -> None:
    zero, one = torch.zeros(2, 2), torch.ones(2, 2)
    for a, b in ((zero, one), (one, zero)):
        with pytest.raises(UsageError, match="undefined for a zero layer"):
            upper_alignment(a, b, "l2")
    with pytest.raises(UsageError, match="undefined for a zero layer or a constant activation"):
        lower_alignment(one, one, "linf", slopes=Slopes(0.0, 0.0))
    with pytest.raises(UsageError, match=r"takes h <= 16 units, got 17"):
        exact_alignment(torch.ones(1, 17), torch.ones(17, 1), "l2")
    with pytest.raises(UsageError, match=r"needs k >= 1 rows or singular values, got 0"):
        top_k_alignment(one, one, 0, "l2")
