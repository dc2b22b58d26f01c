"""Low-rank pairs whose sides shrank below their rank: the same map at its full rank."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from brittle.compression.factorise import truncated
from brittle.compression.pairs import LOW_RANK, LowRank, bias_of, factors, kernel_shape, rank_of
from brittle.compression.unfoldings import unfolding_of


def fit_pairs(model: nn.Module, parts: Iterable[str]) -> None:
    """Cut, in place, the rank of each low-rank pair with a part among these paths to its full rank, where above it.

    The product of the two factors is the same up to rounding.
    """
    for path in dict.fromkeys(part.rpartition(".")[0] for part in parts):
        layer = model.get_submodule(path)
        if isinstance(layer, LOW_RANK) and rank_of(layer) > _full(layer):
            left, right = factors(layer)
            with torch.no_grad():
                thinner = unfolding_of(layer).pair(layer, *truncated(left @ right, _full(layer)), bias_of(layer))
            parent, _, leaf = path.rpartition(".")
            setattr(model.get_submodule(parent), leaf, thinner)


def _full(layer: LowRank) -> int:
    return min(unfolding_of(layer).sides(tuple(kernel_shape(layer))))
