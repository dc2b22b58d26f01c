"""Weights that do not simply belong to one layer: tied ones, and those that are computed from other parameters."""

from __future__ import annotations

from torch import nn


def shared_with(model: nn.Module) -> dict[str, str]:
    """Modules (by every name they have) that own a parameter which occurs again: name -> another place of it."""
    places: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for parameter in module._parameters.values():
            if parameter is not None:
                places.setdefault(id(parameter), []).append(name)
    shared: dict[str, str] = {}
    for names in places.values():
        for i, name in enumerate(names[: len(names) if len(names) > 1 else 0]):
            shared.setdefault(name, names[1] if i == 0 else names[0])
    return shared


def computes_weight(module: nn.Module) -> bool:
    """Whether `module.weight` is no parameter of its own: a parametrisation, a weight norm, a pruning mask."""
    return module._parameters.get("weight") is None
