"""Turns multipliers found in floating point into a proven quadratic form, and that form into upper bounds.

*Layers.* Given `X_{i-1}` and `X_i` as they are stored, `u_i^T X_i u_i <= u_{i-1}^T X_{i-1} u_{i-1}` holds for every
pair of inputs if

    Q = [[X_{i-1} + p W^T Lam W,  -c W^T Lam], [-c Lam W,  Lam - X_i]] >= 0,

since Q's form is the difference of both sides less the weighted sectors. The computed Q differs from the true one by
at most Delta, entry by entry (products as in Higham, section 3.1, and the weights' own slack). After scaling both by
powers of two, which is exact, `Q - s I` gets a Cholesky factorisation in floating point. If it runs through for an n
x n matrix A, then `lambda_min(A) > -gamma_{n+1} / (1 - gamma_{n+1}) tr A` (Rump 2006, Verification of positive
definiteness, BIT 46, from |R^T||R| <= sqrt(a_ii a_jj)), so `s >= ||Delta||_inf + that` proves Q >= 0. X_i is the
recursion's result less a small part of its own diagonal, taken larger until the proof succeeds.

*The end.* With `X >= l I` proven likewise, z an approximate solution of `X z = v` and `rho >= ||v - X z||_2`,

    v^T X^{-1} v <= v . z + rho ||z|| + rho^2 / l.

Legend: one row at a time: mu (d_0,), lams[i] (d_{i+1},), forms (d, d), vectors (k, d). Float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.bounds.dense_chain import DenseMap
from brittle.bounds.lipsdp import next_form
from brittle.operators.activations import Slopes
from brittle.operators.rounding import UNIT, gamma

# What X_i may lose, relative to its diagonal: tried in turn.
_LOSSES = tuple(1e-12 * 10.0**k for k in range(11))
# Error terms are sums and products of non-negative numbers, themselves rounded.
_OUT = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class ProvenForm:
    """`form` (h, h), symmetric, with `u^T form u <= u_0^T diag(mu) u_0` and `scaled >= floor I > 0`, both proven.

    `scaled = diag(scale) form diag(scale)`, scale powers of two; `lower` is an approximate Cholesky factor of `scaled`.
    """

    mu: Tensor
    scale: Tensor
    scaled: Tensor
    lower: Tensor
    floor: float

    def inverse_bounds(self, vectors: DenseMap) -> Tensor:
        """Upper bounds of `v^T form^{-1} v` for each row v of `vectors` (k, h): (k,)."""
        v, z, rho = self._solve(vectors.matrix)
        lengths = z.norm(dim=0)
        products = (v * z).sum(0) + gamma(len(v) + 2) * (v * z).abs().sum(0)
        values = (products + (rho * lengths + rho.square() / self.floor)).clamp_min(0) * _OUT_TIGHT
        return self._with_slack(values, vectors.slack, by_row=True)

    def largest_inverse_bound(self, vectors: DenseMap) -> float:
        """Upper bound of `lambda_max(V form^{-1} V^T)`, V the rows of `vectors`."""
        v, z, rho = self._solve(vectors.matrix)
        gram = v.T @ z
        gram = (gram + gram.T) / 2
        rounding = gamma(len(v) + 4) * float((v.abs().T @ z.abs()).norm())
        top = float(torch.linalg.eigvalsh(gram)[-1]) + 16 * len(gram) * UNIT * float(gram.norm())
        total = float(rho.norm())
        value = max(0.0, top) + (rounding + total * float(z.norm()) + total**2 / self.floor)
        return float(
            self._with_slack(torch.tensor(value * _OUT_TIGHT, dtype=torch.float64), vectors.slack, by_row=False)
        )

    def _solve(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled vectors (h, k), approximate solutions (h, k), and bounds of the residuals' lengths (k,)."""
        v = vectors.T * self.scale[:, None]
        z = torch.cholesky_solve(v, self.lower)
        z = z + torch.cholesky_solve(v - self.scaled @ z, self.lower)
        residual = (v - self.scaled @ z).norm(dim=0)
        rounding = gamma(len(v) + 2) * (v.abs() + self.scaled.abs() @ z.abs()).norm(dim=0)
        return v, z, (residual + rounding) * _OUT

    def _with_slack(self, values: Tensor, slack: Tensor | None, *, by_row: bool) -> Tensor:
        """Adds what the vectors' slack E can: sqrt of the form is a norm, at most `||E|| / sqrt(floor)` more."""
        if slack is None:
            return values
        lengths = (slack * self.scale).norm(dim=1) if by_row else (slack * self.scale).norm()
        return (values.sqrt() + lengths / self.floor**0.5 * _OUT).square() * _OUT_TIGHT


# The few roundings of a final sum.
_OUT_TIGHT = 1 + 64 * UNIT


def prove(
    maps: tuple[DenseMap, ...], slopes: tuple[Slopes, ...], mu: Tensor, lams: tuple[Tensor, ...]
) -> ProvenForm | None:
    """The form after the hidden layers `maps` for X_0 = diag(mu), or None where rounding leaves no proof."""
    form = torch.diag(mu)
    for layer, interval, lam in zip(maps, slopes, lams, strict=True):
        following = _next_proven(form, layer, interval, lam)
        if following is None:
            return None
        form = following
    return _with_floor(mu, form)


def _next_proven(form: Tensor, layer: DenseMap, slopes: Slopes, lam: Tensor) -> Tensor | None:
    lower, info = torch.linalg.cholesky_ex(form)
    if int(info) != 0:
        return None
    half = torch.linalg.solve_triangular(lower, layer.matrix.T, upper=False)
    following = next_form((half.T @ half)[None], lam[None], slopes)[0][0]
    following = (following + following.T) / 2
    if not bool(torch.isfinite(following).all()):
        return None
    for loss in _LOSSES:
        candidate = following - torch.diag(loss * following.diagonal().abs())
        if _holds(form, candidate, layer, slopes, lam):
            return candidate
    return None


def _holds(form: Tensor, following: Tensor, layer: DenseMap, slopes: Slopes, lam: Tensor) -> bool:
    """Whether Q >= 0 for certain."""
    c, p = (slopes.low + slopes.high) / 2, slopes.low * slopes.high
    w, size, slack = layer.matrix, layer.matrix.abs(), layer.errors()
    weighted = lam[:, None] * w
    corner = form + p * (w.T @ weighted) if p != 0 else form
    block = torch.cat(
        [torch.cat([corner, -c * weighted.T], 1), torch.cat([-c * weighted, torch.diag(lam) - following], 1)]
    )
    block = (block + block.T) / 2
    d, h = len(form), len(lam)
    error = gamma(8) * block.abs()
    error[d:, d:] += gamma(2) * (torch.diag(lam) + following.abs())
    off = abs(c) * lam[:, None] * (gamma(8) * size + slack)
    error[d:, :d] += off
    error[:d, d:] += off.T
    if p != 0:
        spread = size.T @ (lam[:, None] * size)
        mixed = size.T @ (lam[:, None] * slack)
        error[:d, :d] += abs(p) * (gamma(h + 8) * spread + mixed + mixed.T + slack.T @ (lam[:, None] * slack))
        error[:d, :d] += gamma(4) * form.abs()
    scale = _powers_of_two(block.diagonal())
    margin = float((scale[:, None] * error * scale).sum(1).max()) * _OUT
    return _exceeds(scale[:, None] * block * scale, margin)


def _exceeds(matrix: Tensor, floor: float) -> bool:
    """Whether `matrix >= floor I`, floor >= 0, for certain."""
    diagonal = matrix.diagonal()
    if not bool(torch.isfinite(matrix).all()) or not bool((diagonal > 0).all()):
        return False
    share = gamma(len(matrix) + 1)
    shift = (floor + 2 * share * float(diagonal.sum()) + 8 * UNIT * float(diagonal.max())) * _OUT
    _, info = torch.linalg.cholesky_ex(matrix - shift * torch.eye(len(matrix), dtype=matrix.dtype))
    return int(info) == 0


def _with_floor(mu: Tensor, form: Tensor) -> ProvenForm | None:
    scale = _powers_of_two(form.diagonal())
    scaled = scale[:, None] * form * scale
    lower, info = torch.linalg.cholesky_ex(scaled)
    if int(info) != 0:
        return None
    smallest = float(torch.linalg.eigvalsh(scaled)[0])
    for share in (0.5, 0.1, 0.0):  # share 0: positive by an amount that is not measured, but above this
        floor = max(share * smallest, UNIT)
        if _exceeds(scaled, floor):
            return ProvenForm(mu, scale, scaled, lower, floor)
    return None


def _powers_of_two(diagonal: Tensor) -> Tensor:
    """`2^k` near `diagonal^{-1/2}`."""
    exponents = torch.frexp(diagonal.abs().clamp_min(1e-300)).exponent
    return torch.ldexp(torch.ones_like(diagonal), -torch.div(exponents, 2, rounding_mode="floor"))
