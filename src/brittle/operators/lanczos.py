"""The spectral norm from below: Golub-Kahan-Lanczos steps on T, then one Rayleigh quotient that counts."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.operators.rounding import below, gamma
from brittle.operators.view import LinearView, size

_STALLED = 1e-5


def lanczos_lower(view: LinearView, above_all: float, steps: int = 24, seed: int = 0) -> float:
    """`||T v||_2 / ||v||_2` at the best vector of `steps` Lanczos steps on `T^t T`: at most ||T||_2, rounding included.

    `above_all` is as for `rayleigh_lower`: it sizes the rounding of the last product. Steps stop early when
    the Ritz value stalls. The start vector is drawn from `seed`.
    """
    start = torch.randn(1, *view.in_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rayleigh_lower(view, _ritz_vector(view, start, min(steps, size(view.in_shape))), above_all)


def rayleigh_lower(view: LinearView, v: Tensor, above_all: float) -> float:
    """`||T v||_2 / ||v||_2` for v (1, *in_shape), less its rounding.

    `||fl(T v) - T v||_2 <= gamma(terms) M ||v||_2`, where `above_all` bounds M, the l_2 norm of the magnitudes of
    all products: `|| |T| ||_2`, or more where T's entries are sums that cancel.
    """
    length = float(v.norm())
    if length == 0.0:
        return 0.0
    out = view.apply(v)
    quotient = below(float(out.norm()) / length, v.numel() + out.numel() + 4)
    return max(0.0, quotient - 2 * gamma(view.terms + 2) * above_all)


def _ritz_vector(view: LinearView, start: Tensor, steps: int) -> Tensor:
    basis = [(start / start.norm()).flatten()]
    diagonal: list[float] = []
    beside: list[float] = []
    best = 0.0
    weights = torch.ones(1, dtype=torch.float64)
    for _ in range(steps):
        v = basis[-1]
        w = view.adjoint(view.apply(v.view_as(start))).flatten()
        diagonal.append(float(w @ v))
        known = torch.stack(basis)
        for _ in range(2):  # twice is enough to keep the basis orthogonal
            w = w - known.T @ (known @ w)
        values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside))
        value, weights = float(values[-1]), vectors[:, -1]
        length = float(w.norm())
        if length <= 1e-13 * value or value - best <= _STALLED * value:
            break
        best = value
        beside.append(length)
        basis.append(w / length)
    return (weights @ torch.stack(basis[: len(weights)])).view_as(start)


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Tensor:
    main = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
    return main + torch.diag(off, 1) + torch.diag(off, -1)
