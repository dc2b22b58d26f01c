"""Recipes of changed networks: what a compression replaced is found by looking, and written beside the architecture."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from brittle.models.editing.difference import edits_between
from brittle.models.editing.edit import Edit
from brittle.models.recipe import Recipe, attach, recipe_of, skeleton

__all__ = ["Edit", "adopt", "describe", "edits_between"]


def describe(model: nn.Module, recipe: Recipe) -> Recipe:
    """`recipe` with the edits that make its architecture that of `model`, in place of the edits that it has.

    Raises:
        ModelError: a difference that no kind of change describes.
    """
    plain = replace(recipe, edits=())
    return replace(plain, edits=edits_between(skeleton(plain), model))


def adopt(child: nn.Module, parent: nn.Module) -> nn.Module:
    """The child, carrying the recipe of its parent with what was changed since, so that it can be saved.

    Both are compared with the architecture that the parent's recipe began with, so changes of changes are one. A
    child of a parent without a recipe is returned as it is.

    Raises:
        ModelError: a difference that no kind of change describes.
    """
    recipe = recipe_of(parent)
    return child if recipe is None else attach(child, describe(child, recipe))
