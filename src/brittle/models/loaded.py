"""What the front doors take and give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from brittle.errors import ModelError
from brittle.models.fit import fit_weights
from brittle.models.recipe import Recipe, is_foreign_name
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
    """A module in eval mode that takes pixels and returns logits; `recipe` is None where no file could describe it."""

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


def foreign_recipe(
    request: Request,
    shape: tuple[int, ...],
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Recipe | None:
    """The recipe of another package's model; input shape and classes are the data's, else the package's own.

    None where there can be none: an address in place of a name, a model without classes, or data that its
    normalisation does not fit, which the model itself refuses.
    """
    shape = request.input_shape or shape
    classes = classes if request.classes is None else request.classes
    if (
        not is_foreign_name(request.rest)
        or classes < 2
        or len(shape) != 3
        or not (shape[0] == 1 or len(mean) in (1, shape[0]))
    ):
        return None
    return Recipe(request.spec, shape, classes, mean=mean, std=std)
