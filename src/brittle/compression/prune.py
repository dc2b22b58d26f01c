"""Neuron pruning of multilayer perceptrons: whole neurons go, the layers on both sides shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from torch import nn

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.compression.plan import CompressionPlan
from brittle.compression.removal import without_units
from brittle.compression.scores.coupled import coupled
from brittle.compression.widths import kept_units
from brittle.errors import ModelError
from brittle.models.fit import check_finite
from brittle.models.recipe import attach, recipe_of


def prune_neurons(model: nn.Module, widths: Sequence[int]) -> nn.Module:
    """A smaller copy of a zoo MLP that keeps, in each hidden layer, the `widths[i]` neurons with the largest score.

    The score of a neuron is `||incoming row||_2 * ||outgoing column||_2` (see `brittle.compression.scores.coupled`),
    which rescaling a ReLU neuron's two sides against each other does not change. Scores are those of the network as
    it came, also in its later layers.

    The copy has the original's device and number format, and a recipe with these widths.

    Raises:
        ModelError: not a dense zoo MLP, widths that do not fit its hidden layers, or weights that are not finite.
    """
    recipe = recipe_of(model)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    if recipe is None or recipe.architecture != "mlp" or any(name.endswith((".first", ".second")) for name in layers):
        raise ModelError("neuron pruning takes a dense zoo:mlp model; other architectures are not covered yet")
    couplings = _hidden(layers)
    hidden = [coupling.units for coupling in couplings]
    if len(widths) != len(hidden) or any(not 1 <= w <= h for w, h in zip(widths, hidden, strict=False)):
        raise ModelError(f"widths must be one number from 1 up for each hidden layer of {hidden}, got {list(widths)}")
    for name, parameter in model.named_parameters():
        check_finite(name, parameter)
    plan = CompressionPlan(units={c.name: width for c, width in zip(couplings, widths, strict=True)})
    child = without_units(model, kept_units(plan, coupled(model, couplings, None)), couplings)
    options = {k: v for k, v in recipe.options.items() if k not in ("width", "depth", "ranks")}
    return attach(child, replace(recipe, options={**options, "widths": list(widths)}, edits=()))


def _hidden(layers: dict[str, nn.Linear]) -> tuple[Coupling, ...]:
    """The hidden layers of an MLP as couplings: no graph is needed to see them."""
    return tuple(
        Coupling(
            maker,
            "neurons",
            layers[maker].out_features,
            (
                Member(maker, "out", _single(layers[maker].out_features)),
                Member(reader, "in", _single(layers[maker].out_features)),
            ),
        )
        for maker, reader in pairwise(layers)
    )


def _single(units: int) -> tuple[tuple[int, ...], ...]:
    return tuple((i,) for i in range(units))
