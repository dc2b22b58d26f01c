"""The polar factor `U V^T` of a matrix `U S V^T`: the nuclear norm's gradient, without a singular value decomposition.

*Small matrices* (short side up to 256): eigenvectors of the Gram matrix in float64.

*Large ones*: two Zolotarev steps, matrix products and Cholesky factors only, which cost a fourth of a decomposition
and run well on every device. The best rational approximation of the sign function on [l, 1] of type (2m + 1, 2m) is

    Z(x) = c x (1 + sum_j a_j / (x^2 + c_j)),   so   Z(W) = c (I + sum_j a_j (G + c_j I)^-1) W,   G = W W^T,

and two steps, m = 2 and then m = 1, are off by 6e-4 on singular values from l sigma_1 to sigma_1, l = 1e-3. One step,
m = 2 and l = 1e-2, costs half of that and is off by 7 %: enough for a factor that is soon out of date. Smaller values
are raised towards 1, but not all the way: a smooth passage from -1 to 1, as for a Huber loss.
Source: Nakatsukasa & Freund, SIAM Review 58 (2016); there with QR factors for float64, here with Cholesky factors.
Legend: M members, h neurons, d fan-in, r = min(h, d), n = max(h, d).
"""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np
import torch
from scipy.special import ellipj, ellipk
from torch import Tensor

from brittle.training.penalties.spectrum import factors, wide

_SMALL = 256
# l of two steps (what the Gram matrix of float32 numbers still resolves), and of one.
_FLOOR, _ROUGH_FLOOR = 1e-3, 1e-2
# Power iterations for sigma_1, and the margin for what they have not found.
_POWERS, _MARGIN = 8, 1.05
# Shifts c_j, residues a_j and the factor c.
_Step = tuple[tuple[float, ...], tuple[float, ...], float]
# Blocks of a symmetric product: with 6, 58 % of the work.
_BLOCKS = 6


@torch.no_grad()
def polar_factor(weight: Tensor) -> Tensor:
    """`U V^T` of W (..., h, d), same shape and number format; singular values of 0 stay 0. Not finite in, NaN out.

    Error: rounding for a short side up to 256. Above it, each singular value of the result is 1 within 1e-3 where that
    of W is at least 1e-3 sigma_1, and lies between 0 and that below.
    """
    return _factor(weight, _two_steps())


@torch.no_grad()
def rough_polar_factor(weight: Tensor) -> Tensor:
    """The same in half the time: above a short side of 256 within 0.07 of 1 from 1e-2 sigma_1 on."""
    return _factor(weight, _one_step())


def _factor(weight: Tensor, steps: tuple[_Step, ...]) -> Tensor:
    short = wide(weight.detach())
    if not bool(short.sum().isfinite()):  # a tenth of the time of short.isfinite().all()
        return torch.full_like(weight, torch.nan)
    factor = None if short.shape[-2] <= _SMALL else _by_zolotarev(short, steps)
    if factor is None:
        factor = _by_eigenvectors(short)
    return factor.mT.contiguous() if weight.shape[-2] > weight.shape[-1] else factor


def _by_eigenvectors(w: Tensor) -> Tensor:
    u, sigma, rows = factors(w)
    # Rounding makes a sigma of 0 a tiny number, whose direction is noise.
    real = sigma > 1e-13 * sigma.amax(-1, keepdim=True)
    return (u @ (rows * torch.where(real, 1 / sigma, 0)[..., None])).to(w.dtype)


def _by_zolotarev(w: Tensor, steps: tuple[_Step, ...]) -> Tensor | None:
    """None where rounding has made a Gram matrix indefinite."""
    x = w.to(torch.promote_types(w.dtype, torch.float32))  # LAPACK knows no shorter numbers
    tiny = torch.finfo(x.dtype).tiny
    x = x / torch.linalg.vector_norm(x, torch.inf, dim=(-2, -1), keepdim=True).clamp_min(tiny)
    g = _gram(x)
    square = (_largest(g) * _MARGIN**2)[..., None, None].clamp_min(tiny)
    x, g = x / square.sqrt(), g / square
    for i, (shifts, residues, factor) in enumerate(steps):
        if i:
            g = _gram(x)
        p = torch.zeros_like(g)
        for shift, residue in zip(shifts, residues, strict=True):
            inverse = _shifted_inverse(g, shift)
            if inverse is None:
                return None
            p.add_(inverse.mT, alpha=residue * factor)  # symmetric, and LAPACK stores by columns
        p.diagonal(dim1=-2, dim2=-1).add_(factor)
        x = p @ x
    return x.to(w.dtype)


def _shifted_inverse(g: Tensor, shift: float) -> Tensor | None:
    shifted = g.clone()
    shifted.diagonal(dim1=-2, dim2=-1).add_(shift)
    lower, info = torch.linalg.cholesky_ex(shifted)
    return None if bool(info.any()) else torch.cholesky_inverse(lower)


def _gram(w: Tensor) -> Tensor:
    """`W W^T`, of which only the lower half is multiplied out."""
    r = w.shape[-2]
    g = w.new_empty(*w.shape[:-1], r)
    size = -(-r // _BLOCKS)
    for start in range(0, r, size):
        stop = min(r, start + size)
        block = w[..., start:stop, :] @ w[..., :stop, :].mT
        g[..., start:stop, :stop] = block
        g[..., :start, start:stop] = block[..., :start].mT
    return g


def _largest(g: Tensor) -> Tensor:
    """An estimate from below of the largest eigenvalue, (..., r, r) -> (...): power iteration from the longest row."""
    at = g.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    v = g.gather(-1, at.expand(*g.shape[:-1], 1))
    value = torch.linalg.vector_norm(v, dim=(-2, -1))
    for _ in range(_POWERS):
        v = g @ (v / value[..., None, None].clamp_min(torch.finfo(g.dtype).tiny))
        value = torch.linalg.vector_norm(v, dim=(-2, -1))
    return value


@cache
def _two_steps() -> tuple[_Step, ...]:
    first = _zolotarev(_FLOOR, 2)
    low, high = _range(*first, _FLOOR)
    second = _zolotarev(low / high, 1)
    # The first step must end in [low / high, 1]; the second is centred on 1.
    return (*first, 1 / high), (*second, 2 / sum(_range(*second, low / high)))


@cache
def _one_step() -> tuple[_Step, ...]:
    only = _zolotarev(_ROUGH_FLOOR, 2)
    return ((*only, 2 / sum(_range(*only, _ROUGH_FLOOR))),)


def _zolotarev(low: float, terms: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """c_j and a_j of the type (2m + 1, 2m), m = terms, on [low, 1], before the factor c."""
    parameter = 1 - low**2
    u = np.arange(1, 2 * terms + 1) * ellipk(parameter) / (2 * terms + 1)
    sn, cn, _, _ = ellipj(u, parameter)
    c = low**2 * (sn / cn) ** 2
    poles, zeros = c[0::2].tolist(), c[1::2].tolist()
    residues = tuple(
        prod(zero - pole for zero in zeros) / prod(other - pole for other in poles if other != pole) for pole in poles
    )
    return tuple(poles), residues


def _range(poles: tuple[float, ...], residues: tuple[float, ...], low: float) -> tuple[float, float]:
    """Least and greatest value on [low, 1], without the factor c."""
    x = np.geomspace(low, 1, 20_001)
    y = x * (1 + sum(a / (x**2 + c) for a, c in zip(residues, poles, strict=True)))
    return float(y.min()), float(y.max())
