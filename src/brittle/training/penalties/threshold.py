"""Singular-value thresholding: the proximal step of the nuclear norm, exact and by a randomised decomposition.

Source: Cai, Candes & Shen, SIAM J. Optim. 20 (2010); Halko, Martinsson & Tropp, SIAM Review 53 (2011).
Legend: r = min(h, d), n = max(h, d), k singular values that a sketch finds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.errors import UsageError
from brittle.training.penalties.spectrum import factors, wide

# Products with W W^T that sharpen a sketch: enough for spectra that fall slowly.
_POWERS = 2
# Columns of a sketch beyond the values asked for.
_SPARE = 8


@torch.no_grad()
def threshold(weight: Tensor, step: float) -> Tensor:
    """`U max(S - step, 0) V^T` of W = `U S V^T`, (..., h, d) -> (..., h, d), in float64 inside.

    Not finite in, NaN out.

    Raises:
        UsageError: a negative step.
    """
    _check(step)
    if not bool(weight.isfinite().all()):
        return torch.full_like(weight, torch.nan)
    left = _shrunk(wide(weight), step).to(weight.dtype)
    return left.mT if weight.shape[-2] > weight.shape[-1] else left


@torch.no_grad()
def randomised_threshold(weight: Tensor, step: float, *, rank: int, generator: torch.Generator) -> Tensor:
    """The same from a random sketch, (h, d) -> (h, d): cheap where few singular values exceed `step`.

    `rank` is doubled until no more values than that exceed `step`; a sketch of r/2 or more is replaced by the exact
    threshold. Off by what a sketch of k = rank + 8 columns misses, some (sigma_{k+1} / sigma_i)^5 of sigma_i.

    Args:
        weight: the matrix.
        step: what each singular value loses.
        rank: values looked for first, at least 1.
        generator: of the sketches, on the CPU.

    Raises:
        UsageError: a negative step, a rank below 1, or a weight that is no matrix.
    """
    _check(step)
    if rank < 1 or weight.dim() != 2:
        raise UsageError(f"a sketch needs a matrix and a rank >= 1, got {tuple(weight.shape)} and {rank}")
    short = wide(weight)
    while 2 * (rank + _SPARE) < short.shape[0] and bool(weight.isfinite().all()):
        sketch = torch.randn(short.shape[1], rank + _SPARE, generator=generator, dtype=torch.float64).to(short)
        basis = torch.linalg.qr(short @ sketch).Q
        for _ in range(_POWERS):
            basis = torch.linalg.qr(short @ torch.linalg.qr(short.mT @ basis).Q).Q
        inside = basis.mT @ short
        if float(torch.linalg.svdvals(inside)[rank]) <= step:
            found = basis @ _shrunk(inside, step).to(short.dtype)
            return found.mT if weight.shape[0] > weight.shape[1] else found
        rank *= 2
    return threshold(weight, step)


def _shrunk(w: Tensor, step: float) -> Tensor:
    u, sigma, rows = factors(w)
    kept = (sigma - step).clamp_min(0) / sigma.where(sigma > 0, 1)
    return u @ (rows * kept[..., None])


def _check(step: float) -> None:
    if not step >= 0:
        raise UsageError(f"a proximal step must be >= 0, got {step!r}")
