"""LipSDP: recursion and derivatives against their definitions, bounds against brute force, special chains."""

from __future__ import annotations

from itertools import pairwise, product
from math import inf

import numpy as np
import pytest
import torch
from benchmarks.soundness import check_cheap, check_solvers
from torch import Tensor

from brittle.bounds.dense_chain import DenseChain, DenseMap
from brittle.bounds.lipsdp import Point, gradient, recursion
from brittle.bounds.lipsdp_l2 import lipsdp_l2
from brittle.bounds.lipsdp_linf import lipsdp_linf, lipsdp_linf_pairs
from brittle.bounds.logit_rows import combined, pair_rows, pair_table
from brittle.errors import ModelError, UsageError
from brittle.operators.activations import Slopes
from tests.cases import normal
from tests.operators.reference import fractions

RELU = Slopes(0.0, 1.0)
KINDS = (RELU, Slopes(0.1, 1.0), Slopes(-0.2, 1.3), Slopes(-1.0, 1.0), Slopes(0.0, 0.25))


def lipsdp_chain(widths: tuple[int, ...], slopes: Slopes, seed: int) -> DenseChain:
    weights = [normal(h, d, seed=seed + 10 * i) for i, (d, h) in enumerate(pairwise(widths))]
    return DenseChain(tuple(DenseMap(w, None) for w in weights), (slopes,) * (len(weights) - 1))


def random_point(rows: int, widths: tuple[int, ...], seed: int) -> Point:
    log_d = tuple(0.5 * normal(rows, h, seed=seed + i) for i, h in enumerate(widths[1:]))
    logits = tuple(normal(rows, 1, seed=seed + 20 + i) for i in range(len(log_d)))
    return Point(0.5 * normal(rows, widths[0], seed=seed + 9), log_d, logits)


def all_jacobians(chain: DenseChain) -> list[Tensor]:
    """`W_n D_{n-1} ... D_1 W_1` for every choice of extreme slopes."""
    jacobians = [chain.maps[0].matrix]
    for layer, s in zip(chain.maps[1:], chain.slopes, strict=True):
        h = layer.matrix.shape[1]
        patterns = [torch.tensor(p, dtype=torch.float64) for p in product((s.low, s.high), repeat=h)]
        jacobians = [(layer.matrix * d) @ j for j in jacobians for d in patterns]
    return jacobians


@pytest.mark.parametrize("slopes", KINDS)
def test_the_recursion_is_the_schur_complement_it_claims_to_be(slopes: Slopes) -> None:
    weights = (normal(4, 3, seed=0), normal(5, 4, seed=1))
    forms = recursion(weights, (slopes, slopes), random_point(2, (3, 4, 5), 3), None)
    assert bool(forms.good.all())
    c, p = (slopes.low + slopes.high) / 2, slopes.low * slopes.high
    for r in range(2):
        x = torch.diag(forms.mu[r])
        for w, step in zip(weights, forms.steps, strict=True):
            lam = torch.diag(step.lam[r])
            x = lam - c**2 * lam @ w @ torch.linalg.inv(x + p * w.T @ lam @ w) @ w.T @ lam
        torch.testing.assert_close(forms.lower[r] @ forms.lower[r].T, x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("slopes", KINDS)
def test_derivatives_match_central_differences(slopes: Slopes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brittle.bounds.lipsdp._FIRST_POWER_STEPS", 500)  # lambda_max exact, not estimated
    weights, widths = (normal(4, 3, seed=5), normal(5, 4, seed=6)), (3, 4, 5)
    vectors = normal(2, 5, 2, seed=7)
    signs = torch.tensor([[1.0, -0.5], [2.0, 1.0]], dtype=torch.float64)
    start = random_point(2, widths, 11)

    def value(point: Point) -> Tensor:
        forms = recursion(weights, (slopes, slopes), point, None)
        return (signs[:, None] * vectors * forms.solve(vectors)).sum((1, 2))

    forms = recursion(weights, (slopes, slopes), start, None)
    found = gradient(weights, (slopes, slopes), forms, forms.solve(vectors), signs)
    parts = [start.log_mu, *start.log_d, *start.logits]
    slopes_found = [found.log_mu, *found.log_d, *found.logits]
    for i, (part, slope) in enumerate(zip(parts, slopes_found, strict=True)):
        for k in range(part.shape[1]):
            sides = []
            for h in (1e-5, -1e-5):
                moved = [t.clone() for t in parts]
                moved[i][:, k] += h
                sides.append(value(Point(moved[0], tuple(moved[1:3]), tuple(moved[3:]))))
            torch.testing.assert_close(slope[:, k], (sides[0] - sides[1]) / 2e-5, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("slopes", KINDS)
@pytest.mark.parametrize("steps", [1, 40])
@pytest.mark.parametrize("widths", [(3, 5, 2), (2, 4, 4, 3), (4, 3, 2, 3, 2)])
def test_bounds_hold_for_every_pattern_of_slopes(widths: tuple[int, ...], slopes: Slopes, steps: int) -> None:
    chain = lipsdp_chain(widths, slopes, seed=sum(widths))
    stacked = torch.stack(all_jacobians(chain))
    classes = widths[-1]
    differences = torch.einsum("rk,bkn->brn", pair_rows(classes), stacked)
    solve = lipsdp_l2(chain, steps=steps)
    assert solve.value >= float(torch.linalg.matrix_norm(stacked, 2).max()) * (1 - 1e-12)
    assert bool((solve.logits() >= stacked.norm(dim=2).amax(0) * (1 - 1e-12)).all())
    assert bool((solve.pairs() >= pair_table(classes, differences.norm(dim=2).amax(0)) * (1 - 1e-12)).all())
    rows = lipsdp_linf(chain, torch.eye(classes, dtype=torch.float64), steps=steps)
    assert bool((rows.values >= stacked.abs().sum(2).amax(0) * (1 - 1e-12)).all())
    pairs = lipsdp_linf_pairs(chain, steps=steps)
    assert bool((pairs >= pair_table(classes, differences.abs().sum(2).amax(0)) * (1 - 1e-12)).all())
    assert torch.isfinite(pairs).all()


def test_random_small_networks_show_no_violation_in_any_form() -> None:
    for tallies in (check_cheap(2000, seed=1), check_solvers(40, seed=1)):
        assert tallies
        assert all(t.violations == 0 and t.cases > 0 for t in tallies.values())


def test_a_bound_below_the_truth_would_be_counted() -> None:
    from benchmarks.soundness import Tally

    tally = Tally()
    tally.add(torch.tensor([1.0, 0.999], dtype=torch.float64), torch.tensor([1.0, 1.0], dtype=torch.float64))
    assert (tally.cases, tally.violations) == (2, 1)


@pytest.mark.parametrize("seed", range(5))
def test_at_the_start_slopes_from_0_to_1_never_exceed_the_product(seed: int) -> None:
    chain = lipsdp_chain((6, 8, 7, 3), RELU, seed)
    norms = [float(torch.linalg.matrix_norm(m.matrix, 2)) for m in chain.maps]
    assert lipsdp_l2(chain, steps=1).value <= float(np.prod(norms)) * (1 + 1e-3)


def test_the_search_gains_much_and_is_nearly_exact_for_one_hidden_layer() -> None:
    chain = lipsdp_chain((6, 8, 2), RELU, 3)
    stacked = torch.stack(all_jacobians(chain))
    exact = {"l2": float(torch.linalg.matrix_norm(stacked, 2).max()), "linf": float(stacked.abs().sum(2).max())}
    eye = torch.eye(2, dtype=torch.float64)
    assert lipsdp_l2(chain).value <= 1.06 * exact["l2"]
    assert lipsdp_linf(chain, eye).value <= 1.15 * exact["linf"]
    assert lipsdp_linf(chain, eye, steps=1).value > 1.15 * exact["linf"]


@pytest.mark.parametrize("scale", [1e-120, 1e100])
def test_the_bound_scales_with_the_weights(scale: float) -> None:
    chain = lipsdp_chain((3, 4, 2), RELU, 1)
    first = DenseMap(chain.maps[0].matrix * scale, None)
    big = DenseChain((first, *chain.maps[1:]), chain.slopes)
    eye = torch.eye(2, dtype=torch.float64)
    assert lipsdp_l2(big).value == pytest.approx(lipsdp_l2(chain).value * scale, rel=1e-2)
    assert lipsdp_linf(big, eye).value == pytest.approx(lipsdp_linf(chain, eye).value * scale, rel=1e-2)


def test_a_linear_network_is_bounded_by_its_own_norms() -> None:
    w = normal(3, 5, seed=2)
    chain = DenseChain((DenseMap(w, None),), ())
    assert lipsdp_l2(chain).value == pytest.approx(float(torch.linalg.svdvals(w)[0]), rel=1e-9)
    sums = lipsdp_linf(chain, torch.eye(3, dtype=torch.float64)).values
    torch.testing.assert_close(sums, w.abs().sum(1), rtol=1e-12, atol=0)


def test_a_zero_layer_gives_zero() -> None:
    chain = DenseChain((DenseMap(normal(4, 3, seed=0), None), DenseMap(torch.zeros(2, 4).double(), None)), (RELU,))
    assert lipsdp_l2(chain).value == 0.0
    assert float(lipsdp_l2(chain).pairs().max()) == 0.0
    assert lipsdp_linf(chain, torch.eye(2, dtype=torch.float64)).value == 0.0


def test_equal_classes_have_an_almost_zero_pair() -> None:
    head = normal(1, 4, seed=1).expand(2, -1).contiguous()
    chain = DenseChain((DenseMap(normal(4, 3, seed=0), None), DenseMap(head, None)), (RELU,))
    assert float(lipsdp_l2(chain).pairs().max()) < 1e-12
    assert float(lipsdp_linf_pairs(chain).max()) < 1e-12


def test_dead_units_do_no_harm() -> None:
    first, second = normal(5, 4, seed=0), normal(2, 5, seed=1)
    first[2:] = 0.0
    chain = DenseChain((DenseMap(first, None), DenseMap(second, None)), (RELU,))
    stacked = torch.stack(all_jacobians(chain))
    exact = float(torch.linalg.matrix_norm(stacked, 2).max())
    assert exact <= lipsdp_l2(chain).value <= 1.05 * exact


def test_a_single_class_has_no_pairs() -> None:
    chain = lipsdp_chain((3, 4, 1), RELU, 0)
    assert lipsdp_linf_pairs(chain).tolist() == [[0.0]]
    assert lipsdp_l2(chain, steps=1).pairs().tolist() == [[0.0]]


def test_without_time_one_step_is_made_and_said_so() -> None:
    chain = lipsdp_chain((3, 4, 2), RELU, 0)
    solve = lipsdp_l2(chain, time_limit=0.0)
    assert (solve.steps, solve.out_of_time) == (1, True)
    rows = lipsdp_linf(chain, torch.eye(2, dtype=torch.float64), time_limit=0.0)
    assert (rows.steps, rows.out_of_time) == (1, True)
    exact = torch.stack(all_jacobians(chain)).abs().sum(2).amax(0)
    assert bool((rows.values >= exact).all())
    assert not lipsdp_l2(chain, steps=3).out_of_time


def test_rows_are_solved_in_batches_with_the_same_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = lipsdp_chain((3, 4, 3), RELU, 4)
    whole = lipsdp_linf_pairs(chain, steps=20)
    monkeypatch.setattr("brittle.bounds.lipsdp_linf._MAX_ENTRIES", 16)
    torch.testing.assert_close(lipsdp_linf_pairs(chain, steps=20), whole, rtol=1e-9, atol=0)


def test_combined_rows_cover_their_rounding() -> None:
    last = DenseMap(normal(4, 6, seed=0), None)
    rows = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    found = combined(rows, last)
    error = np.abs(fractions(found.matrix) - fractions(rows) @ fractions(last.matrix))
    assert bool((error <= fractions(found.errors())).all())
    assert combined(torch.eye(4, dtype=torch.float64), last).slack is None


def test_rows_must_fit_the_logits() -> None:
    with pytest.raises(UsageError, match="expected rows of 2 coefficients, one for each logit, got shape"):
        lipsdp_linf(lipsdp_chain((3, 4, 2), RELU, 0), torch.ones(1, 3, dtype=torch.float64))


def test_broken_weights_are_refused() -> None:
    chain = DenseChain((DenseMap(torch.tensor([[inf]], dtype=torch.float64), None),), ())
    with pytest.raises(ModelError, match="expected finite weights"):
        lipsdp_l2(chain)
    with pytest.raises(ModelError, match="expected finite weights"):
        lipsdp_linf(chain, torch.ones(1, 1, dtype=torch.float64))
