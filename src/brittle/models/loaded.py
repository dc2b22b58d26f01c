"""What the front doors take and give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from brittle.errors import ModelError
from brittle.models.fit import fit_weights
from brittle.models.recipe import Recipe
from brittle.models.weights import read_checkpoint, split_index


@dataclass(frozen=True)
class Request:
    """A MODEL string and what surrounds it; `rest` is what follows the prefix."""

    spec: str
    rest: str
    weights: str | None
    input_shape: tuple[int, ...] | None
    classes: int | None
    seed: int


@dataclass(frozen=True)
class LoadedModel:
    """A module in eval mode that takes pixels and returns logits; `recipe` is None for a foreign module."""

    module: nn.Module
    name: str
    recipe: Recipe | None
    notes: tuple[str, ...]


FrontDoor = Callable[[Request], LoadedModel]


def pour(module: nn.Module, weights: str | None, without: str) -> tuple[str, ...]:
    """Fit the weight file into the module and return the notes; `without` is the note when there is no file.

    Raises:
        ModelError: the file cannot be read or does not fit.
    """
    if weights is None:
        return (without,)
    path, index = split_index(weights)
    checkpoint = read_checkpoint(path, index)
    try:
        return (*checkpoint.notes, *fit_weights(module, checkpoint.state))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
