"""Sensitive directions of one layer: what its linear map T, on its real input, stretches most.

Legend: T a layer's map, sigma its singular values; inputs (*in_shape), outputs (*out_shape).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.directions.subspace import leading_pairs
from brittle.errors import UsageError
from brittle.operators.view import LinearView, size

_BLOCK = 4


@dataclass(frozen=True, eq=False)
class LayerDirections:
    """Leading singular triplets of T in float64: `T right_i = sigma_i left_i`.

    `sigma` (k,), `right` (k, *in_shape), `left` (k, *out_shape), rows of unit length; `residuals` (k,) are
    `||T^t left_i - sigma_i right_i||_2 / sigma_i`. Each sigma_i is at most the true one up to rounding (a lower bound).
    """

    sigma: Tensor
    right: Tensor
    left: Tensor
    residuals: Tensor


@dataclass(frozen=True, eq=False)
class DominantRows:
    """The rows of T with the largest l_1 norms: norms (k,), positions (k,) in the flattened output, largest first.

    `signs` (k, *in_shape) are the rows' sign patterns: `epsilon * signs[i]` is the l_inf perturbation of radius epsilon
    that moves output i most, by `epsilon * norms[i]`; the first one attains `||T||_inf`.
    """

    norms: Tensor
    positions: Tensor
    signs: Tensor


def layer_directions(
    view: LinearView, k: int = 8, *, seed: int = 0, tolerance: float = 1e-6, budget: int = 256
) -> LayerDirections:
    """The k leading singular triplets of a layer's map, the directions it stretches most in l_2.

    Block Krylov iteration on `T^t T`, so nothing but `apply` and `adjoint` of the view is used. Left vectors of
    vanishing singular values are zero.

    Args:
        view: the layer.
        k: triplets wanted, at most the inputs.
        seed: of the random start.
        tolerance: relative residual at which a triplet is accepted.
        budget: the most products with `T^t T`.

    Raises:
        UsageError: k outside 1 ... inputs, a tolerance outside (0, 1), a budget below 1.
    """
    inputs = size(view.in_shape)
    _check_count(k, inputs, "inputs")
    if not 0.0 < tolerance < 1.0:
        raise UsageError(f"the tolerance must lie in (0, 1), got {tolerance}: 1e-6 is usual")
    if budget < 1:
        raise UsageError(f"the budget of products must be >= 1, got {budget}: 256 is usual")

    def apply(v: Tensor) -> Tensor:
        return view.adjoint(view.apply(v.view(-1, *view.in_shape))).flatten(1)

    pairs = leading_pairs(
        apply,
        inputs,
        k,
        block=_BLOCK,
        seed=seed,
        tolerance=tolerance,
        budget=budget,
        rounding=10 * torch.finfo(torch.float64).eps,
    )
    right = pairs.vectors.view(-1, *view.in_shape)
    images = view.apply(right)
    sigma = images.flatten(1).norm(dim=1)
    per_row = sigma.view(-1, *(1,) * len(view.out_shape))
    left = torch.where(per_row > 0, images / per_row.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    return LayerDirections(sigma, right, left, pairs.residuals)


def dominant_rows(view: LinearView, k: int = 8) -> DominantRows:
    """The k rows of T with the largest l_1 norms, and their sign patterns: the directions a layer stretches in l_inf.

    The row norms are `|T| 1`; of equal ones the first counts.

    Raises:
        UsageError: k outside 1 ... outputs.
    """
    outputs = size(view.out_shape)
    _check_count(k, outputs, "outputs")
    norms = view.abs_apply(torch.ones(1, *view.in_shape, dtype=torch.float64)).flatten()
    positions = norms.sort(descending=True, stable=True).indices[:k]
    units = torch.zeros(k, outputs, dtype=torch.float64)
    units[torch.arange(k), positions] = 1.0
    signs = view.adjoint(units.view(k, *view.out_shape)).sign()
    return DominantRows(norms[positions], positions, signs)


def _check_count(k: int, most: int, what: str) -> None:
    if not 1 <= k <= most:
        raise UsageError(f"k must be from 1 to {most}, the layer's {what}, got {k}: ask for fewer directions")
