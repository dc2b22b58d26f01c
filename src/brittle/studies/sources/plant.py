"""Planted structure: a layer's whole spectrum or its row norms concentrated, at the same Frobenius norm.

Legend: W (h, d) a layer's matrix, sigma its singular values, nu the l_1 norms of its rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from brittle.training.matrices import StructureMatrix, chosen_matrices

# At strength 1: what is added to the spectrum's power of 1, and the decay of row norms from the longest to the last.
# Row norms of trained layers hardly differ, so a power of theirs would do little.
POWER: Final = 5.0
DECAY: Final = 10.0


def plant_spectrum(net: nn.Module, strength: float) -> nn.Module:
    """A copy whose hidden layers have `sigma_i <- c sigma_i^p`, `p = 1 + 5 strength`, c keeping ||W||_F.

    Singular vectors and biases stay. Unlike `respectral.concentrate_spectrum` no tail is spared: at strength 1 a few
    directions carry a trained layer.

    Args:
        net: left as it is.
        strength: in [0, 1].
    """
    return _planted(net, strength, _concentrated_spectrum)


def plant_rows(net: nn.Module, strength: float) -> nn.Module:
    """A copy whose hidden layers have `nu_(i) <- c nu_(i) exp(-10 strength i / h)`, c keeping ||W||_F.

    i = 0 ... h - 1 counts rows from the longest in l_1 norm; their directions and biases stay. Arguments as in
    `plant_spectrum`.
    """
    return _planted(net, strength, _concentrated_rows)


def _planted(net: nn.Module, strength: float, change: Callable[[Tensor, float], Tensor]) -> nn.Module:
    child = copy.deepcopy(net)
    if strength > 0:
        for matrix in chosen_matrices(child, None):
            _change(matrix, strength, change)
    return child


@torch.no_grad()
def _change(matrix: StructureMatrix, strength: float, change: Callable[[Tensor, float], Tensor]) -> None:
    w = matrix.tensor().double()
    new = change(w, strength)
    length = torch.linalg.matrix_norm(new)
    if length > 0:
        matrix.write((new * (torch.linalg.matrix_norm(w) / length)).to(matrix.tensor()))


def _concentrated_spectrum(w: Tensor, strength: float) -> Tensor:
    u, sigma, vt = torch.linalg.svd(w, full_matrices=False)
    return (u * (sigma / sigma[0].clamp_min(torch.finfo(w.dtype).tiny)) ** (1 + POWER * strength)) @ vt


def _concentrated_rows(w: Tensor, strength: float) -> Tensor:
    order = w.abs().sum(1).argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return w * torch.exp(-DECAY * strength * place / len(order))[:, None]


# What is concentrated -> how.
PLANTS: Final[dict[str, Callable[[nn.Module, float], nn.Module]]] = {"spectrum": plant_spectrum, "rows": plant_rows}
