"""Adam over the free choices of the LipSDP recursion, every row on its own. Every iterate is a valid bound.

A step that leaves the feasible set (lambda_max is an estimate), or loses much, is undone: the row goes back to its best
point and halves its step, which then recovers slowly.

Legend: R rows, P numbers in one row's point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from time import perf_counter

import torch
from torch import Tensor

from brittle.bounds.lipsdp import Forms, Point, gradient, recursion
from brittle.operators.activations import Slopes

_LEARNING_RATE = 0.1
_MEAN, _SQUARE = 0.9, 0.9
# A row whose log constant exceeds its best by more than this goes back.
_MAX_LOSS = 0.2

# From the forms: the values (R,) to make small, and the columns solved (R, h, m) and signs (R, m) of their logarithms'
# derivatives.
Objective = Callable[[Forms], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Found:
    """The best of each row: `mu` (R, d_0) and `lams[i]` (R, d_{i+1}); steps taken; whether time ended it."""

    mu: Tensor
    lams: tuple[Tensor, ...]
    steps: int
    out_of_time: bool


def rows_objective(vectors: Tensor) -> Objective:
    """`v^T X_{n-1}^{-1} v` with one vector for each row, (R, h)."""

    def objective(forms: Forms) -> tuple[Tensor, Tensor, Tensor]:
        solved = forms.solve(vectors[:, :, None])
        values = (vectors[:, :, None] * solved).sum((1, 2))
        return values, solved, 1 / values[:, None]

    return objective


def largest_objective(last: Tensor, power: float = 24.0) -> Objective:
    """`lambda_max(W_n X_{n-1}^{-1} W_n^T)` for `last` = W_n (K, h) and R = 1.

    The derivative is that of the mean weighted by `lambda^power`, so that the largest eigenvalues fall together.
    """

    def objective(forms: Forms) -> tuple[Tensor, Tensor, Tensor]:
        solved = forms.solve(last.T[None])
        gram = last @ solved[0]
        values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
        shares = (values / values[-1]).clamp_min(0) ** power
        weights = shares / (shares * values).sum()
        return values[-1:], solved @ vectors, weights[None]

    return objective


def minimise(
    weights: tuple[Tensor, ...],
    slopes: tuple[Slopes, ...],
    mu: Tensor,
    objective: Objective,
    *,
    free_mu: bool,
    steps: int,
    time_limit: float,
) -> Found:
    """The smallest `objective * sum(mu)` found from D = I, theta = 1/2.

    Args:
        weights: hidden weights, scaled so that no number leaves float64's range (`DenseChain.unit`).
        slopes: of the activations after them.
        mu: (R, d_0) > 0, the start; with `free_mu` False it stays, and `objective` alone is made small.
        objective: what to make small.
        free_mu: whether mu is optimised.
        steps: of Adam.
        time_limit: seconds after which the best so far is returned; at least one step is made.
    """
    rows = len(mu)
    sizes = [mu.shape[1], *(len(w) for w in weights), *(1 for _ in weights)]
    hidden = len(weights)

    def point(z: Tensor) -> Point:
        parts = z.split(sizes, 1)
        return Point(parts[0], tuple(parts[1 : 1 + hidden]), tuple(parts[1 + hidden :]))

    z = torch.cat([mu.log(), mu.new_zeros(rows, sum(sizes) - mu.shape[1])], 1)
    mean, square, best_z = torch.zeros_like(z), torch.zeros_like(z), z.clone()
    best = mu.new_full((rows,), torch.inf)
    rate = mu.new_ones(rows, 1)
    found_mu, found_lams = mu.clone(), [mu.new_ones(rows, len(w)) for w in weights]
    forms: Forms | None = None
    stop, step, late = perf_counter() + time_limit, 0, False
    while step < steps and not late:
        forms = recursion(weights, slopes, point(z), forms)
        values, solved, signs = objective(forms)
        total = forms.mu.sum(1, keepdim=True)
        logs = (values.log() + (total[:, 0].log() if free_mu else 0.0)) / 2
        kept = (forms.good & torch.isfinite(logs) & (logs < best + _MAX_LOSS))[:, None]
        better = kept & (logs < best)[:, None]
        best = torch.where(better[:, 0], logs, best)
        best_z = torch.where(better, z, best_z)
        found_mu = torch.where(better, forms.mu, found_mu)
        found_lams = [torch.where(better, s.lam, lam) for s, lam in zip(forms.steps, found_lams, strict=True)]
        slope = gradient(weights, slopes, forms, solved, signs)
        first = slope.log_mu + forms.mu / total if free_mu else torch.zeros_like(slope.log_mu)
        g = torch.where(kept, torch.cat([first, *slope.log_d, *slope.logits], 1), 0.0)
        rate = torch.where(kept, (1.1 * rate).clamp_max(1), rate / 2)
        mean = torch.where(kept, _MEAN * mean + (1 - _MEAN) * g, mean / 2)
        square = torch.where(kept, _SQUARE * square + (1 - _SQUARE) * g.square(), square)
        step += 1
        direction = (mean / (1 - _MEAN**step)) / ((square / (1 - _SQUARE**step)).sqrt() + 1e-10)
        size = _LEARNING_RATE * (0.02 + 0.49 * (1 + cos(pi * step / steps)))
        z = torch.where(kept, z, best_z) - size * rate * direction
        late = perf_counter() > stop
    return Found(found_mu, tuple(found_lams), step, late and step < steps)
