"""The trace is exact where that is cheap, else unbiased with an honest standard error."""

from __future__ import annotations

import pytest
import torch

from brittle.directions.moment import Moment
from brittle.directions.trace import EXACT_SIDE, estimated_trace, exact_trace, trace
from tests.cases import normal
from tests.directions.dense import eigen


def linear(units: int, pixels: int) -> tuple[torch.Tensor, Moment]:
    """x -> x * |x| W^t: its Jacobian `2 W diag(x)` differs from sample to sample; with it A for x in [0, 1]."""
    w = normal(units, pixels, seed=units)
    x = torch.rand(6, pixels, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = torch.stack([(2 * w * s).T @ (2 * w * s) for s in x]).mean(0)
    return a, Moment(lambda z: (z * z) @ w.T, x, 4)


@pytest.mark.parametrize(("units", "pixels"), [(5, 9), (9, 5), (3, 300), (300, 3), (EXACT_SIDE, 150)])
def test_the_exact_sum_by_the_shorter_side(units: int, pixels: int) -> None:
    a, moment = linear(units, pixels)
    assert exact_trace(moment) == pytest.approx(float(a.trace()))
    found = trace(moment, torch.zeros(1, pixels, dtype=torch.float64), 0.0, seed=0)
    assert (found.value, found.status, found.error) == (pytest.approx(float(a.trace())), "exact", 0.0)


def test_estimates_are_unbiased_and_their_error_is_the_spread_that_is_seen() -> None:
    a, moment = linear(140, 150)
    _, vectors = eigen(a)
    v = vectors[:10]
    captured = float((v @ a @ v.T).trace())
    runs = [estimated_trace(moment, v, captured, probes=4, seed=seed) for seed in range(60)]
    values = torch.tensor([run.value for run in runs])
    truth = float(a.trace())
    spread = float(values.std())
    assert abs(float(values.mean()) - truth) < 4 * spread / 60**0.5
    said = sum(run.error * run.value for run in runs) / len(runs)
    assert 0.7 < said / spread < 1.4
    plain = estimated_trace(moment, v[:0], 0.0, probes=4, seed=0)
    assert runs[0].error < plain.error


def test_what_the_vectors_hold_is_not_estimated() -> None:
    a, moment = linear(140, 150)
    everything = torch.eye(150, dtype=torch.float64)
    found = estimated_trace(moment, everything, float(a.trace()), probes=2, seed=0)
    assert found.value == pytest.approx(float(a.trace()), rel=1e-12)
    assert found.error < 1e-12


def test_long_sides_are_estimated_and_do_not_depend_on_the_batch_size() -> None:
    a, moment = linear(140, 150)
    nothing = torch.zeros(0, 150, dtype=torch.float64)
    found = trace(moment, nothing, 0.0, seed=5)
    assert found.status == "estimate"
    assert found.value == pytest.approx(float(a.trace()), rel=5 * found.error)
    alone = Moment(moment._function, moment._x, 1)
    assert trace(alone, nothing, 0.0, seed=5).value == pytest.approx(found.value, rel=1e-12)
    assert trace(moment, nothing, 0.0, seed=6).value != found.value


def test_a_map_that_does_not_move_has_trace_zero() -> None:
    still = Moment(lambda z: 0 * z.repeat(1, 2), torch.rand(2, 150, dtype=torch.float64), 2)
    found = trace(still, torch.zeros(0, 150, dtype=torch.float64), 0.0, seed=0)
    assert (found.value, found.error) == (0.0, 0.0)
