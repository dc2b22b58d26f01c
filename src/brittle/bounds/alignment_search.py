"""Slopes D that make `||A D B||_p` large: alternating ascent, what SeqLip does for neighbouring layers.

`||A D B||` is the largest `u^t A D B x` over unit u (dual) and x. With two of (u, D, x) held the best third is known in
closed form, so no step lowers the value. Legend: A (m, h), B (h, n), s starts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.operators.activations import Slopes
from brittle.operators.rounding import gram_sandwich

_ROUNDS = 40
_RANDOM_STARTS = 6
_STALLED = 1e-12


def ascend(a: Tensor, b: Tensor, norm: str, slopes: Slopes, seed: int) -> float:
    """The largest `||A D B||_p` met, each value reached by a real D; starts are drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(_RANDOM_STARTS, b.shape[1], dtype=torch.float64, generator=generator)
    return _linf(a, b, slopes, noise) if norm == "linf" else _l2(a, b, slopes, noise)


def _best_slopes(gain: Tensor, slopes: Slopes) -> Tensor:
    # new_tensor: torch.where of two Python numbers would round them to float32
    return torch.where(gain > 0, gain.new_tensor(slopes.high), gain.new_tensor(slopes.low))


def _sign(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0).to(torch.float64)


def _linf(a: Tensor, b: Tensor, slopes: Slopes, noise: Tensor) -> float:
    """Every row of A by itself, u its unit vector."""
    middle = (slopes.low + slopes.high) / 2
    starts = [_sign(middle * a @ b), _sign(a @ b.abs())] + [_sign(row).expand(len(a), -1) for row in noise]
    best = torch.zeros((), dtype=torch.float64)
    for x in starts:
        reached = torch.zeros(len(a), dtype=torch.float64)
        for _ in range(_ROUNDS):
            d = _best_slopes(a * (x @ b.T), slopes)
            rows = (a * d) @ b
            values = rows.abs().sum(1)
            if bool((values <= reached * (1 + _STALLED)).all()):
                break
            reached, x = values, _sign(rows)
        best = torch.maximum(best, reached.max())
    return float(best)


def _l2(a: Tensor, b: Tensor, slopes: Slopes, noise: Tensor) -> float:
    right = [torch.linalg.svd(matrix, full_matrices=False).Vh[:2] for matrix in (a @ b, b)]
    x = torch.cat([*right, noise])
    x = x / x.norm(dim=1, keepdim=True)
    d = torch.full((len(x), a.shape[1]), slopes.high, dtype=torch.float64)
    for _ in range(_ROUNDS):
        hidden = x @ b.T
        u = (d * hidden) @ a.T
        u = u / u.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        back = u @ a
        d = _best_slopes(hidden * back, slopes)
        x = (d * back) @ b
        x = x / x.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return max(gram_sandwich((a * row) @ b)[0] for row in torch.unique(d, dim=0))
