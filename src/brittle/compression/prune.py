"""Neuron pruning of multilayer perceptrons: whole neurons go, the layers on both sides shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.models.fit import check_finite
from brittle.models.recipe import build, recipe_of


def prune_neurons(model: nn.Module, widths: Sequence[int]) -> nn.Module:
    """A smaller copy of a zoo MLP that keeps, in each hidden layer, the `widths[i]` neurons with the largest score.

    The score of a neuron is `||incoming row||_2 * ||outgoing column||_2`, which rescaling a ReLU neuron's two sides
    against each other does not change.

    The copy has the original's device and number format.

    Raises:
        ModelError: not a dense zoo MLP, widths that do not fit its hidden layers, or weights that are not finite.
    """
    recipe = recipe_of(model)
    if recipe is None or recipe.architecture != "mlp" or recipe.options.get("ranks") is not None:
        raise ModelError("neuron pruning takes a dense zoo:mlp model; other architectures are not covered yet")
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hidden = [layer.out_features for layer in layers[:-1]]
    if len(widths) != len(hidden) or any(not 1 <= w <= h for w, h in zip(widths, hidden, strict=False)):
        raise ModelError(f"widths must be one number from 1 up for each hidden layer of {hidden}, got {list(widths)}")
    options = {k: v for k, v in recipe.options.items() if k not in ("width", "depth")}
    for name, parameter in model.named_parameters():
        check_finite(name, parameter)
    child = build(replace(recipe, options={**options, "widths": list(widths)})).to(layers[0].weight)
    smaller = [module for module in child.modules() if isinstance(module, nn.Linear)]
    inputs: Tensor | None = None
    with torch.no_grad():
        for i, (old, new) in enumerate(zip(layers, smaller, strict=True)):
            kept = _best(old.weight, layers[i + 1].weight, widths[i]) if i < len(widths) else None
            rows = slice(None) if kept is None else kept
            weight = old.weight[rows]
            new.weight.copy_(weight if inputs is None else weight[:, inputs])
            if old.bias is not None:
                new.bias.copy_(old.bias[rows])
            inputs = kept
    return child


def _best(incoming: Tensor, outgoing: Tensor, count: int) -> Tensor:
    """Positions of the `count` best neurons, ascending."""
    score = incoming.double().norm(dim=1) * outgoing.double().norm(dim=0)
    return score.argsort(descending=True, stable=True)[:count].sort().values
