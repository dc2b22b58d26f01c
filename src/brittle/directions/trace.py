"""The trace of `A = E_x[ J^T J ]`: the total energy that the directions share.

Legend: n samples, d pixels, D outputs, m rows of an orthonormal V (m, d), p probes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.directions.moment import Moment

# Up to this many outputs (or pixels) the trace is summed exactly, one product with J^T (or J) for each.
EXACT_SIDE = 128
PROBES = 4
# Unit directions sent through J at once; only memory depends on it.
_CHUNK = 64


@dataclass(frozen=True)
class Trace:
    """`value`, "exact" or "estimate" as `status`, and the relative standard error (0 where exact)."""

    value: float
    status: str
    error: float


def trace(moment: Moment, vectors: Tensor, captured: float, *, seed: int) -> Trace:
    """tr A, exactly where outputs or pixels are at most `EXACT_SIDE`, else estimated with `PROBES` probes per sample.

    Args:
        moment: A.
        vectors: V, orthonormal rows (m, d) on which the trace is known.
        captured: tr(V A V^T).
        seed: of the probes.
    """
    if min(moment.units, moment.pixels) <= EXACT_SIDE:
        return Trace(exact_trace(moment), "exact", 0.0)
    return estimated_trace(moment, vectors, captured, probes=PROBES, seed=seed)


def exact_trace(moment: Moment) -> float:
    """`tr A = E_x ||J||_F^2`, by rows of J (one product with J^T for each output) or columns, whichever are fewer."""
    if moment.pixels < moment.units:
        units = torch.eye(moment.pixels, dtype=torch.float64)
        return sum(float(moment.energies(part).sum()) for part in units.split(_CHUNK))
    total = 0.0
    for linear in moment.linearised():
        for unit in range(moment.units):
            chosen = torch.zeros_like(linear.outputs)
            chosen[:, unit] = 1.0
            total += float(linear.vjp(chosen).double().square().sum())
    return total / len(moment)


def estimated_trace(moment: Moment, vectors: Tensor, captured: float, *, probes: int, seed: int) -> Trace:
    """`tr A = captured + E_x E_z ||(I - V^T V) J^T z||_2^2`, z random signs per sample (n, p, D).

    Girard-Hutchinson on what V leaves over, which is where the variance would come from (Hutch++, Meyer et al. 2021;
    here V was found without the probes, so the estimate is unbiased). The standard error is that of the probes, at the
    given samples, from their spread within each sample.

    Args:
        moment: A.
        vectors: V, orthonormal rows (m, d).
        captured: tr(V A V^T).
        probes: p, at least 2.
        seed: of the probes, which do not depend on the batch size.
    """
    generator = torch.Generator().manual_seed(seed)
    rest, variance = 0.0, 0.0
    for linear in moment.linearised():
        # One sample after the other, so that the numbers do not change with the cut into batches.
        drawn = [torch.randint(0, 2, (probes, moment.units), generator=generator) for _ in range(len(linear.outputs))]
        signs = (2 * torch.stack(drawn, dim=1) - 1).to(linear.outputs)
        lengths = torch.stack([_left_over(linear.vjp(z), vectors) for z in signs])
        rest += float(lengths.mean(0).sum())
        variance += float(lengths.var(0).sum()) / probes
    value = captured + rest / len(moment)
    return Trace(value, "estimate", variance**0.5 / len(moment) / value if value else 0.0)


def _left_over(pulled: Tensor, vectors: Tensor) -> Tensor:
    """`||(I - V^T V) g||_2^2` for each sample's g, (b, *shape) -> (b,)."""
    g = pulled.flatten(1).double().cpu()
    return (g - (g @ vectors.T) @ vectors).square().sum(1)
