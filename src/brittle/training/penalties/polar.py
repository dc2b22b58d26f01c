"""The polar factor `U V^T` of a matrix `U S V^T`: the nuclear norm's gradient, without a singular value decomposition.

*Small matrices* (short side up to 256): eigenvectors of the Gram matrix in float64.

*Large ones*: `P W` with P from Zolotarev's approximation of the sign function (`zolotarev`), which takes products and
Cholesky factors of the Gram matrix only (`rational`), costs less than a fourth of a decomposition and runs well on
every device. Two steps are off by 6e-4 on singular values from l sigma_1 to sigma_1, l = 1e-3; one step, l = 5e-3,
costs three quarters of that and is off by 3 %: enough for a factor that is soon out of date. Smaller values are raised
towards 1, but not all the way: a smooth passage from -1 to 1, as for a Huber loss.
Source: Nakatsukasa & Freund, SIAM Review 58 (2016); there with QR factors for float64, here with Cholesky factors.
Legend: M members, h neurons, d fan-in, r = min(h, d), n = max(h, d).
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.training.penalties.rational import left_factor, symmetric_product
from brittle.training.penalties.spectrum import factors, wide
from brittle.training.penalties.zolotarev import Step, one_step, two_steps

_SMALL = 256
# l of two steps (what the Gram matrix of float32 numbers still resolves), and of one.
_FLOOR, _ROUGH_FLOOR = 1e-3, 5e-3
# Power iterations for sigma_1, and the margin for what they have not found.
_POWERS, _MARGIN = 8, 1.05
# Sizes of numbers whose squares and their sums float32 holds.
_LEAST, _MOST = 1e-12, 1e12


@torch.no_grad()
def polar_factor(weight: Tensor) -> Tensor:
    """`U V^T` of W (..., h, d), same shape and number format; singular values of 0 stay 0. Not finite in, NaN out.

    Error: rounding for a short side up to 256. Above it 6e-4 by design, and by the rounding of the Gram matrix, whose
    share grows as sigma falls: in float32 each singular value of the result is 1 within 1e-3 where that of W is at
    least 1e-2 sigma_1, within 3e-2 where it is at least 1e-3 sigma_1, and between 0 and 1.1 below that.
    """
    return _factor(weight, two_steps(_FLOOR, 2, 1))


@torch.no_grad()
def rough_polar_factor(weight: Tensor) -> Tensor:
    """The same in three quarters of the time: above a short side of 256 within 0.04 of 1 from 5e-3 sigma_1 on."""
    return _factor(weight, one_step(_ROUGH_FLOOR, 3))


def _factor(weight: Tensor, steps: tuple[Step, ...]) -> Tensor:
    short = wide(weight.detach())
    # The largest magnitude, by two passes that take a fourth of the time of a norm.
    size = torch.maximum(short.amax((-2, -1), keepdim=True), -short.amin((-2, -1), keepdim=True))
    if not bool(size.isfinite().all()):
        return torch.full_like(weight, torch.nan)
    factor = None if short.shape[-2] <= _SMALL else _by_zolotarev(short, size, steps)
    if factor is None:
        factor = _by_eigenvectors(short)
    return factor.mT.contiguous() if weight.shape[-2] > weight.shape[-1] else factor


def _by_eigenvectors(w: Tensor) -> Tensor:
    u, sigma, rows = factors(w)
    # Rounding makes a sigma of 0 a tiny number, whose direction is noise.
    real = sigma > 1e-13 * sigma.amax(-1, keepdim=True)
    return (u @ (rows * torch.where(real, 1 / sigma, 0)[..., None])).to(w.dtype)


def _by_zolotarev(w: Tensor, size: Tensor, steps: tuple[Step, ...]) -> Tensor | None:
    """None where rounding has made a Gram matrix indefinite."""
    x = w.to(torch.promote_types(w.dtype, torch.float32))  # LAPACK knows no shorter numbers
    tiny = torch.finfo(x.dtype).tiny
    if not bool(((size > _LEAST) & (size < _MOST)).all()):
        x = x / size.to(x).clamp_min(tiny)
    g = symmetric_product(x, x.mT)
    square = (_largest(g) * _MARGIN**2)[..., None, None].clamp_min(tiny)
    p = left_factor(g.div_(square), steps)
    return None if p is None else (p.div_(square.sqrt()) @ x).to(w.dtype)


def _largest(g: Tensor) -> Tensor:
    """An estimate from below of the largest eigenvalue, (..., r, r) -> (...): power iteration from the longest row."""
    at = g.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    v = g.gather(-1, at.expand(*g.shape[:-1], 1))
    value = torch.linalg.vector_norm(v, dim=(-2, -1))
    for _ in range(_POWERS):
        v = g @ (v / value[..., None, None].clamp_min(torch.finfo(g.dtype).tiny))
        value = torch.linalg.vector_norm(v, dim=(-2, -1))
    return value
