"""Low-rank layers with a bounded condition number, as orthonormal factors give them (CondLR).

Legend: a pair's product L R = U S V^t with singular values s_1 >= ... >= s_r; r rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.compression.pairs import LowRank, factors, low_rank_layers, write_factors
from brittle.errors import UsageError
from brittle.models.fit import check_finite


def condition_factors(model: nn.Module, tau: float) -> None:
    """Clip the spectrum of each low-rank layer, in place, so that `s_1 / s_r <= tau` at the same Frobenius norm.

    `U S V^t` with orthonormal U, V and a well-conditioned S is the form of CondLR (Savostianova, Zangrando, Ceruti,
    Tudisco, NeurIPS 2023); here S is shared equally by the two factors, each of which then has condition number
    <= sqrt(tau). Of all such factors those nearest to the present ones are written, so that an optimiser's momentum
    keeps its meaning; a layer within the bound is not touched. Nothing else changes. Made to be called after training
    steps: it costs a few decompositions of (r, r) matrices a layer.

    Args:
        model: any module; its `LowRankLinear`, `LowRankConv2d` and `LowRankConv2dIn` layers are changed.
        tau: >= 1; 1 makes all singular values of a layer equal.

    Raises:
        UsageError: tau below 1 or not finite.
        ModelError: factors that are not finite.
    """
    if not 1 <= tau < float("inf"):
        raise UsageError(f"a condition number is bounded by a finite tau >= 1, got {tau!r}")
    layers = low_rank_layers(model)
    for name, layer in layers.items():
        for path, parameter in layer.named_parameters():
            check_finite(f"{name}.{path}", parameter)
    for layer in layers.values():
        _condition(layer, tau)


def condition_numbers(model: nn.Module) -> dict[str, float]:
    """`s_1 / s_r` of each low-rank layer by name; infinity where the product has not the layer's rank, 1 for zero."""
    found = {}
    for name, layer in low_rank_layers(model).items():
        values = _decomposed(*factors(layer))[1]
        found[name] = 1.0 if values[0] == 0 else float(values[0] / values[-1])
    return found


def clipped_spectrum(values: Tensor, tau: float) -> Tensor:
    """`min(max(s, m), tau m)` with the m > 0 that keeps `||s||_2`; s (r,) >= 0, not all zero.

    The sum of squares grows with m from 0 on, and is quadratic between the places where values enter or leave the band,
    so m is found exactly. A spectrum within the bound stays as it is.
    """
    if values.max() <= tau * values.min():
        return values
    places = torch.cat([values, values / tau]).sort().values
    total = values.square().sum()
    sums = _clipped(values, places[:, None], tau).square().sum(1)
    low = places[max(0, int((sums <= total).sum()) - 1)]  # the band's place is between this one and the next
    high = places[min(len(places) - 1, int((sums <= total).sum()))]
    middle = (low + high) / 2
    below, above = values < middle, values > tau * middle
    inside = values[~below & ~above].square().sum()
    m = ((total - inside) / (int(below.sum()) + tau**2 * int(above.sum()))).sqrt()
    return _clipped(values, m, tau)


def _clipped(values: Tensor, m: Tensor, tau: float) -> Tensor:
    return torch.minimum(torch.maximum(values, m), tau * m)


def _condition(layer: LowRank, tau: float) -> None:
    left, right = factors(layer)
    u, values, vt = _decomposed(left, right)
    # Rounding to the parameters' format moves the ratio a little: a bound met up to that is met.
    slack = 1 + 8 * torch.finfo(layer.first.weight.dtype).eps
    if values[0] == 0 or values[0] <= slack * tau * values[-1]:
        return
    root = clipped_spectrum(values, tau).sqrt()
    # Any rotation between the two factors leaves the product alone; this one brings them nearest to what they were.
    a, _, bt = torch.linalg.svd(root[:, None] * (u.T @ left + vt @ right.T))
    turn = a @ bt
    write_factors(layer, (u * root) @ turn, turn.T @ (root[:, None] * vt))


def _decomposed(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The SVD of L R through (r, r) matrices: U (m, r), s (r,), V^t (r, n)."""
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    u, s, vt = torch.linalg.svd(r_left @ r_right.T)
    return q_left @ u, s, vt @ q_right.T
