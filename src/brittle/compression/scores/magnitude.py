"""Norms of the weights that produce a unit: filters of a channel, rows of a neuron, rows of q, k and v of a head.

Source: Li, Kadav, Durdanovic, Samet, Graf, "Pruning filters for efficient convnets", ICLR 2017 (l1 of filters).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling, Side
from brittle.compression.couplings.sides import unit_rows, weight_members, weight_of
from brittle.compression.protocols import Evidence


def l1(model: nn.Module, couplings: Sequence[Coupling], evidence: Evidence | None) -> Mapping[str, Tensor]:
    """The sum of `|w|` over all weights that produce a unit, (u,) float64 by coupling; biases and norms do not count.

    A unit with several producers (channels that a residual addition joins, a depthwise filter after a pointwise one)
    has the weights of all of them. The evidence is not looked at.
    """
    return {c.name: unit_weights(model, c, "out").abs().sum(1) for c in couplings}


def l2(model: nn.Module, couplings: Sequence[Coupling], evidence: Evidence | None) -> Mapping[str, Tensor]:
    """The Euclidean norm of all weights that produce a unit, taken as one vector; (u,) float64 by coupling.

    So squares add up over several producers, as in `l1`. The evidence is not looked at.
    """
    return {c.name: unit_weights(model, c, "out").norm(dim=1) for c in couplings}


def unit_weights(model: nn.Module, coupling: Coupling, side: Side) -> Tensor:
    """All weights that produce ("out") or read ("in") each unit, (u, weights) float64, detached."""
    found = []
    for member, module in weight_members(model, coupling, side):
        weight = weight_of(module)
        assert weight is not None
        found.append(unit_rows(weight.detach().double(), member))
    return torch.cat(found, dim=1)
