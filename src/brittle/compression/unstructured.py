"""Unstructured sparsity: the smallest single weights become zero, shapes stay. A comparison, not a smaller network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.compression.plan import CompressionPlan
from brittle.compression.protocols import Family
from brittle.compression.ranks import checked_knob
from brittle.compression.single_weights import chosen_weights
from brittle.errors import ModelError, UsageError


def sparsify(model: nn.Module, densities: Mapping[str, float]) -> nn.Module:
    """A copy in which each named layer keeps `max(1, round(density * size))` weights, the largest in magnitude.

    Of equal magnitudes the first stay. The others are zero; nothing else changes.

    Raises:
        UsageError: a density outside [0, 1].
        ModelError: an unknown layer, tied or computed weights, or weights that are not finite.
    """
    for name, density in densities.items():
        if not 0 <= density <= 1:
            raise UsageError(f"the density of layer {name!r} is the share of weights that stay, in [0, 1]: {density!r}")
    chosen_weights(model, densities)
    child = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in chosen_weights(child, densities).items():
            kept = max(1, round(densities[name] * weight.numel()))
            smallest = weight.abs().flatten().argsort(descending=True, stable=True)[kept:]
            weight.view(-1)[smallest] = 0
    return child


def magnitude_densities(model: nn.Module, layers: Sequence[str] | None = None) -> Family:
    """One threshold on `|w|` for all layers (by default every one): the knob is the share of weights above it.

    At least one weight of each layer stays.

    Raises:
        ModelError: as `sparsify`, or a model without such layers.
    """
    weights = chosen_weights(model, layers)
    _some(weights)
    magnitudes = torch.cat([weight.detach().abs().double().flatten().cpu() for weight in weights.values()])
    sizes = {name: weight.numel() for name, weight in weights.items()}
    owners = torch.arange(len(sizes), dtype=torch.int32).repeat_interleave(torch.tensor(list(sizes.values())))
    return _Threshold(sizes, owners[magnitudes.argsort(descending=True, stable=True)])


def uniform_densities(model: nn.Module, layers: Sequence[str] | None = None) -> Family:
    """Every layer (by default all) keeps the share `knob` of its weights, at least one.

    Raises:
        ModelError: as `magnitude_densities`.
    """
    weights = chosen_weights(model, layers)
    _some(weights)
    return _Share({name: weight.numel() for name, weight in weights.items()})


@dataclass(frozen=True, eq=False)
class _Threshold:
    """`owners`: which layer each weight belongs to, the largest weight first."""

    sizes: Mapping[str, int]
    owners: Tensor

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        kept = self.owners[: round(checked_knob(knob) * len(self.owners))]
        counts = torch.bincount(kept, minlength=len(self.sizes)).tolist()
        shares = {name: max(1, n) / size for (name, size), n in zip(self.sizes.items(), counts, strict=True)}
        return CompressionPlan(densities=shares)


@dataclass(frozen=True)
class _Share:
    sizes: Mapping[str, int]

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        share = checked_knob(knob)
        return CompressionPlan(densities={n: max(1, round(share * size)) / size for n, size in self.sizes.items()})


def _some(weights: Mapping[str, Tensor]) -> None:
    if not weights:
        raise ModelError("the model has no dense layer or convolution whose weights could be cut")
