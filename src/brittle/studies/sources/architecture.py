"""The architecture of a trial: the zoo model it names, of another width, of low rank, or with dropout."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import Any, Final

from brittle.errors import UsageError
from brittle.models.recipe import Recipe, parse_zoo
from brittle.models.zoo import ZOO
from brittle.studies.tasks import Learning
from brittle.studies.trial import DynamicsSource, InterventionSource, RankSource, Source, Trial, WidthSource

# The options that hold an architecture's hidden widths, and of which number each width stays a multiple.
_WIDTHS: Final[dict[str, dict[str, str | None]]] = {
    "mlp": {"width": None, "widths": None},
    "cnn": {"channels": None, "fc": None},
    "resnet": {"width": None, "inner": None},
    "resnet_b": {"stem": None, "channels": None, "fc": None, "inner": None},
    "vit": {"dim": "heads"},
}


def dense_recipe(trial: Trial, learning: Learning) -> Recipe:
    """The network that `trial.model` names, for this task.

    Raises:
        UsageError: no zoo model.
        ModelError: as `parse_zoo`.
    """
    if not trial.model.startswith("zoo:"):
        raise UsageError(
            f"a trial trains a zoo model from scratch, got {trial.model!r}: write zoo:mlp?width=100&depth=2"
        )
    return parse_zoo(trial.model, learning.input_shape, learning.classes)


def recipe_of(trial: Trial, source: Source, learning: Learning) -> Recipe:
    """The dense recipe, changed as `source` says.

    Raises:
        UsageError, ModelError: as `dense_recipe`; a rank or dropout that the architecture cannot have.
    """
    recipe = dense_recipe(trial, learning)
    match source:
        case InterventionSource(of=of):
            return recipe_of(trial, of, learning)
        case RankSource(rank=rank):
            return replace(recipe, options={**recipe.options, "ranks": rank})
        case WidthSource(factor=factor):
            return replace(recipe, options={**recipe.options, **_narrower(recipe, factor)})
        case DynamicsSource(setting="dropout", value=value):
            return replace(recipe, options={**recipe.options, "dropout": value})
        case _:
            return recipe


def _narrower(recipe: Recipe, factor: float) -> dict[str, Any]:
    """Every hidden width times the factor, rounded, at least 1 (or one multiple)."""
    parameters = signature(ZOO[recipe.architecture]).parameters
    values = {name: recipe.options.get(name, parameters[name].default) for name in parameters}
    changed: dict[str, Any] = {}
    for option, multiple in _WIDTHS[recipe.architecture].items():
        value, unit = values[option], 1 if multiple is None else values[multiple]
        if isinstance(value, int):
            changed[option] = _scaled(value, factor, unit)
        elif value is not None:
            changed[option] = [_scaled(one, factor, unit) for one in value]
    return changed


def _scaled(width: int, factor: float, unit: int) -> int:
    return max(1, round(width * factor / unit)) * unit
