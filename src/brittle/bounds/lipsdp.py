"""The LipSDP-Neuron recursion: one quadratic form carried through a chain of layers, batched over rows.

Between two inputs let `u_i` be the change of layer i's activations (u_0 of the input) and `y_i = W_i u_{i-1}` that of
its pre-activations. Slopes in [a, b] say, coordinate by coordinate, `(u_i - a y_i)(b y_i - u_i) >= 0`. Subtract
these, weighted by a diagonal `Lam_i > 0`, from a form `X_{i-1} > 0`; what is left at the minimum over u_{i-1} gives

    u_i^T X_i u_i <= u_{i-1}^T X_{i-1} u_{i-1},    X_i = Lam - c^2 Lam W (X_{i-1} + p W^T Lam W)^{-1} W^T Lam,

`c = (a + b) / 2`, `p = a b`. With `M = Lam^{1/2} K Lam^{1/2}`, `K = W X_{i-1}^{-1} W^T`, this is `X_i = Lam^{1/2} (I
- c^2 M (I + p M)^{-1}) Lam^{1/2}`: its eigenvalues are those of `1 - c^2 m / (1 + p m)`, positive exactly when `r^2 m
< 1`, `r = (b - a) / 2`, since `c^2 - p = r^2`; then `1 + p m > c^2 m >= 0` too, for a < 0 as well. So slopes of any
interval will do (GELU, SiLU), and

    Lam_i = theta_i D_i / (r^2 lambda_max(D_i^{1/2} K_i D_i^{1/2})),    D_i > 0,  0 < theta_i < 1,

is feasible by construction. Slopes [0, 1] give theory section 4 (Fazlyab et al. 2019, LipSDP-Neuron; D = I, theta =
1/2: ECLipsE-Fast, Xu and Sivaranjani 2024). At the end `(v . u_{n-1})^2 <= v^T X_{n-1}^{-1} v * u_0^T X_0 u_0`.

Here lambda_max is estimated by a few power steps, and nothing is guarded against rounding: that is `lipsdp_proof`.

Legend: R rows, each with a point of its own; d_i width of layer i (d_0 inputs); m output vectors. Float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.operators.activations import Slopes

# theta stays a little below 1, where X_i would be singular.
_LARGEST_SHARE = 0.9999
_FIRST_POWER_STEPS, _POWER_STEPS = 50, 6
_TINY = 1e-30


@dataclass(frozen=True)
class Point:
    """The free choices: `log_mu` (R, d_0) of X_0 = diag(mu), `log_d[i]` (R, d_{i+1}), `logits[i]` (R, 1) of theta."""

    log_mu: Tensor
    log_d: tuple[Tensor, ...]
    logits: tuple[Tensor, ...]


@dataclass(frozen=True)
class Step:
    """One layer of the recursion, kept for the way back.

    `lower` is L with X_{i-1} = L L^T (R, d, d), or the root of the diagonal (R, d) for X_0; `half = L^{-1} W^T`;
    `inner` the Cholesky factor of `I + p M`, None where p = 0; `top` (R, d_i, 1) the unit eigenvector of the largest
    eigenvalue `largest` (R,) of `D^{1/2} K D^{1/2}`, and `root_d = D^{1/2}`.
    """

    lower: Tensor
    half: Tensor
    inner: Tensor | None
    lam: Tensor
    share: Tensor
    largest: Tensor
    top: Tensor
    root_d: Tensor

    def inverse_root(self, x: Tensor) -> Tensor:
        """`L^{-T} x`, (R, d, m)."""
        if self.lower.dim() == 2:
            return x / self.lower[:, :, None]
        return torch.linalg.solve_triangular(self.lower.mT, x, upper=True)


@dataclass(frozen=True)
class Forms:
    """The result: `lower` (R, h, h), the Cholesky factor of X_{n-1}; `good` (R,) where all X_i > 0; `mu` (R, d_0).

    Rows that are not good hold numbers without meaning.
    """

    mu: Tensor
    lower: Tensor
    good: Tensor
    steps: tuple[Step, ...]

    def solve(self, vectors: Tensor) -> Tensor:
        """`X_{n-1}^{-1} v` for vectors (R, h, m)."""
        return torch.cholesky_solve(vectors, self.lower)


def next_form(gram: Tensor, lam: Tensor, slopes: Slopes) -> tuple[Tensor, Tensor | None, Tensor]:
    """X_i from `gram` = K (R, h, h) and Lam (R, h); the factor of `I + p M` (None for p = 0), its success (R,)."""
    c, p = (slopes.low + slopes.high) / 2, slopes.low * slopes.high
    root = lam.sqrt()
    m = root[:, :, None] * gram * root[:, None, :]
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
    inner, solved = None, torch.ones(len(gram), dtype=torch.bool)
    if p != 0:
        inner, info = torch.linalg.cholesky_ex(eye + p * m)
        m, solved = torch.cholesky_solve(m, inner), info == 0
        m = (m + m.mT) / 2
    return root[:, :, None] * (eye - c**2 * m) * root[:, None, :], inner, solved


def recursion(weights: tuple[Tensor, ...], slopes: tuple[Slopes, ...], point: Point, before: Forms | None) -> Forms:
    """X_1, ..., X_{n-1} for hidden weights `weights[i]` (d_{i+1}, d_i), the network's last map left out.

    `before` is the result at a nearby point, whose eigenvectors start the power steps.
    """
    mu = point.log_mu.exp()
    lower = mu.sqrt()
    good = torch.ones(len(mu), dtype=torch.bool)
    steps = []
    for i, (weight, interval) in enumerate(zip(weights, slopes, strict=True)):
        if lower.dim() == 2:
            half = weight.T / lower[:, :, None]
        else:
            half = torch.linalg.solve_triangular(lower, weight.T.expand(len(mu), -1, -1), upper=False)
        gram = half.mT @ half
        d = point.log_d[i].exp()
        root_d = d.sqrt()
        scaled = root_d[:, :, None] * gram * root_d[:, None, :]
        largest, top = _top(scaled, None if before is None else before.steps[i].top)
        share = _LARGEST_SHARE * torch.sigmoid(point.logits[i])
        radius = (interval.high - interval.low) / 2
        lam = share * d / (radius**2 * largest[:, None])
        form, inner, solved = next_form(gram, lam, interval)
        steps.append(Step(lower, half, inner, lam, share, largest, top, root_d))
        lower, info = torch.linalg.cholesky_ex(form)
        good &= solved & (info == 0)
    return Forms(mu, lower, good, tuple(steps))


def _top(matrices: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """The largest eigenvalue of positive matrices (R, h, h), from below, and its unit vector."""
    # A start that no symmetry of the matrix is likely to share
    v = torch.linspace(1.0, 2.0, matrices.shape[-1], dtype=matrices.dtype)[:, None].expand(len(matrices), -1, 1)
    v = v if start is None else torch.nan_to_num(start) + 1e-3 * v / v.norm(dim=1, keepdim=True)
    for _ in range(_FIRST_POWER_STEPS if start is None else _POWER_STEPS):
        v = matrices @ v
        v = v / v.norm(dim=1, keepdim=True).clamp_min(_TINY)
    return (v * (matrices @ v)).sum((1, 2)).clamp_min(_TINY), v


def gradient(
    weights: tuple[Tensor, ...], slopes: tuple[Slopes, ...], forms: Forms, solved: Tensor, signs: Tensor
) -> Point:
    """Derivatives of `sum_m signs_m v_m^T X_{n-1}^{-1} v_m` at the point, from `solved = X_{n-1}^{-1} v` (R, h, m).

    `v^T X^{-1} v` is the largest value over all u of `2 v . u_{n-1} - u_0^T X_0 u_0 + weighted sectors`, which is
    linear in mu and Lam: by the envelope theorem its derivative is the sector's value at the best u, found backwards
    from `u_{n-1} = X_{n-1}^{-1} v`. lambda_max(D^{1/2} K D^{1/2}) is such a value too, one layer lower, with v = W^T
    D^{1/2} top: it joins as one more column. No matrix factorisation is differentiated.
    """
    u = solved
    log_d: list[Tensor] = []
    logits: list[Tensor] = []
    for weight, interval, step in zip(reversed(weights), reversed(slopes), reversed(forms.steps), strict=True):
        c, p = (interval.low + interval.high) / 2, interval.low * interval.high
        if step.inner is None:
            pushed = step.lam[:, :, None] * u
        else:
            root = step.lam.sqrt()[:, :, None]
            pushed = root * torch.cholesky_solve(root * u, step.inner)
        best = step.inverse_root(step.half @ torch.cat([c * pushed, step.root_d[:, :, None] * step.top], 2))
        y = weight @ best[:, :, : u.shape[2]]
        by_lam = -step.lam * ((u.square() - 2 * c * u * y + p * y.square()) * signs[:, None]).sum(2)
        total = by_lam.sum(1, keepdim=True)
        log_d.append(by_lam - total * step.top[:, :, 0].square())
        logits.append(total * (1 - step.share / _LARGEST_SHARE))
        signs = torch.cat([signs, -total / step.largest[:, None]], 1)
        u = best
    log_mu = -forms.mu * (u.square() * signs[:, None]).sum(2)
    return Point(log_mu, tuple(reversed(log_d)), tuple(reversed(logits)))
