"""The LipSDP-Neuron recursion: one quadratic form carried through a chain of layers, batched over rows.

Between two inputs let `u_i` be the change of layer i's activations (u_0 the change of the input) and `y_i = W_i u_{i-1}`
that of its pre-activations. Slopes in [a, b] say, coordinate by coordinate, `(u_i - a y_i)(b y_i - u_i) >= 0`. Weighted by
a diagonal `Lam_i > 0` and added to a form `X_{i-1} > 0`,

    u_i^T X_i u_i <= u_{i-1}^T X_{i-1} u_{i-1},    X_i = Lam - c^2 Lam W (X_{i-1} + p W^T Lam W)^{-1} W^T Lam,

`c = (a + b) / 2`, `p = a b`: the right side minus the weighted sector is a quadratic in u_{i-1}, and X_i is what is left at
its minimum. With `M = Lam^{1/2} K Lam^{1/2}`, `K = W X_{i-1}^{-1} W^T`, this is `X_i = Lam^{1/2} (I - c^2 M (I + p M)^{-1})
Lam^{1/2}`, and `X_i > 0` exactly when `r^2 lambda_max(M) < 1`, `r = (b - a) / 2`; then `1 + p M > 0` too, also for a < 0.
So any slopes will do. For [0, 1] it is theory section 4 (Fazlyab et al. 2019; Xu and Sivaranjani 2024 for the recursion).
At the end `(v . u_{n-1})^2 <= v^T X_{n-1}^{-1} v * u_0^T X_0 u_0` by Cauchy-Schwarz.

Nothing here is verified against rounding: that is `lipsdp_proof`.

Legend: R rows with multipliers of their own, d_i width of layer i (d_0 inputs), m output vectors of one row. X_0 is
diagonal. Float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.operators.activations import Slopes


@dataclass(frozen=True)
class Multipliers:
    """The free choices of the bound, all > 0: `mu` (R, d_0), the diagonal of X_0, and `lams[i]` (R, d_{i+1}).

    Every choice with all X_i > 0 gives a valid bound.
    """

    mu: Tensor
    lams: tuple[Tensor, ...]


@dataclass(frozen=True)
class Step:
    """One layer of the recursion, kept for the way back: `half = L^{-1} W^T` (R, d_{i-1}, d_i), X_{i-1} = L L^T.

    `lower` is L, a vector for the diagonal X_0; `inner` the Cholesky factor of `I + p M`, None where p = 0.
    """

    half: Tensor
    lower: Tensor
    inner: Tensor | None


@dataclass(frozen=True)
class Forms:
    """The recursion's result: `last` (R, h, h) is X_{n-1}, `lower` its Cholesky factor, `good` (R,) where all X_i > 0.

    Rows that are not good hold numbers without meaning.
    """

    last: Tensor
    lower: Tensor
    good: Tensor
    steps: tuple[Step, ...]


def centre(slopes: Slopes) -> tuple[float, float]:
    """`c = (a + b) / 2` and `p = a b` of a slope interval."""
    return (slopes.low + slopes.high) / 2, slopes.low * slopes.high


def next_form(gram: Tensor, lam: Tensor, slopes: Slopes) -> tuple[Tensor, Tensor | None, Tensor]:
    """X_i from `gram` = K (R, h, h) and Lam (R, h); with the factor of `I + p M` (None for p = 0) and its success."""
    c, p = centre(slopes)
    root = lam.sqrt()
    scaled = root[:, :, None] * gram * root[:, None, :]
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
    inner, info = None, torch.zeros(len(gram), dtype=torch.int32)
    if p != 0:
        inner, info = torch.linalg.cholesky_ex(eye + p * scaled)
        scaled = torch.cholesky_solve(scaled, inner)
        scaled = (scaled + scaled.mT) / 2
    return root[:, :, None] * (eye - c**2 * scaled) * root[:, None, :], inner, info == 0


def recursion(weights: Sequence[Tensor], slopes: Sequence[Slopes], multipliers: Multipliers) -> Forms:
    """X_1, ..., X_{n-1} of hidden weights `weights[i]` (d_{i+1}, d_i), the network's last map left out."""
    lower = multipliers.mu.sqrt()
    last = torch.diag_embed(multipliers.mu)
    good = torch.ones(len(lower), dtype=torch.bool)
    steps = []
    for weight, interval, lam in zip(weights, slopes, multipliers.lams, strict=True):
        if lower.dim() == 2:
            half = weight.T / lower[:, :, None]
        else:
            half = torch.linalg.solve_triangular(lower, weight.T.expand(len(lower), -1, -1), upper=False)
        last, inner, solved = next_form(half.mT @ half, lam, interval)
        steps.append(Step(half, lower, inner))
        lower, info = torch.linalg.cholesky_ex(last)
        good &= solved & (info == 0)
    return Forms(last, lower if lower.dim() == 3 else torch.diag_embed(lower), good, tuple(steps))


def inverse_times(forms: Forms, vectors: Tensor) -> Tensor:
    """`X_{n-1}^{-1} v` for vectors (R, h, m), or (h, m) shared by all rows."""
    return torch.cholesky_solve(vectors.expand(len(forms.lower), -1, -1), forms.lower)


def gradient(
    weights: Sequence[Tensor], slopes: Sequence[Slopes], multipliers: Multipliers, forms: Forms, solved: Tensor
) -> Multipliers:
    """Derivatives of `sum_m v_m^T X_{n-1}^{-1} v_m` in the multipliers, from `solved = X_{n-1}^{-1} v` (R, h, m).

    `v^T X_{n-1}^{-1} v` is the largest `2 v . u_{n-1} - u_0^T X_0 u_0 + sum of weighted sectors` over all u, a function
    that is linear in the multipliers: by the envelope theorem its derivative is the sector's value at the best u, which
    is found backwards from `u_{n-1} = X_{n-1}^{-1} v`. No differentiation of matrix factorisations is needed.
    """
    u = solved
    lams: list[Tensor] = []
    for weight, interval, lam, step in zip(
        reversed(weights), reversed(slopes), reversed(multipliers.lams), reversed(forms.steps), strict=True
    ):
        c, p = centre(interval)
        if step.inner is None:
            pushed = lam[:, :, None] * u
        else:
            root = lam.sqrt()[:, :, None]
            pushed = root * torch.cholesky_solve(root * u, step.inner)
        before = c * (step.half @ pushed)
        if step.lower.dim() == 2:
            before = before / step.lower[:, :, None]
        else:
            before = torch.linalg.solve_triangular(step.lower.mT, before, upper=True)
        y = weight @ before
        lams.append(-(u.square() - 2 * c * u * y + p * y.square()).sum(2))
        u = before
    return Multipliers(-u.square().sum(2), tuple(reversed(lams)))


def start(weights: Sequence[Tensor], slopes: Sequence[Slopes], mu: Tensor) -> Multipliers:
    """Feasible multipliers at once: `Lam_i = I / (2 r^2 lambda_max(K_i))` (ECLipsE-Fast for slopes in [0, 1]).

    A layer with K = 0 has Lam = I.
    """
    lams: list[Tensor] = []
    for i, interval in enumerate(slopes):
        forms = recursion(weights[:i], slopes[:i], Multipliers(mu, tuple(lams)))
        half = torch.linalg.solve_triangular(forms.lower, weights[i].T.expand(len(mu), -1, -1), upper=False)
        largest = torch.linalg.matrix_norm(half, 2).square()
        radius = (interval.high - interval.low) / 2
        scale = torch.where(largest > 0, 1 / (2 * radius**2 * largest.clamp_min(1e-300)), 1.0)
        lams.append(scale[:, None].expand(-1, len(weights[i])).contiguous())
    return Multipliers(mu, tuple(lams))
