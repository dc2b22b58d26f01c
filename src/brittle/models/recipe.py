"""The recipe of a model: everything but the weights, as JSON values. `zoo:` strings are recipes for people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from brittle.errors import DataError, ModelError
from brittle.models.messages import first_line
from brittle.models.options import check_options
from brittle.models.pixels import Pixels, check_normalisation
from brittle.models.zoo import ZOO
from brittle.results import serialise


@dataclass(frozen=True)
class Recipe:
    """An architecture of the zoo with its options, and what surrounds it.

    `options` holds JSON values, lists where the architecture takes tuples. `mean` and `std` (pixel units, one number
    or one for each channel) put normalisation inside the model; None for a model that takes pixels as they are.

    Raises:
        ModelError: an architecture, option or value that cannot be built from.
    """

    architecture: str
    input_shape: tuple[int, ...]
    classes: int
    options: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.architecture not in ZOO:
            raise ModelError(f"unknown architecture {self.architecture!r}: expected one of {', '.join(ZOO)}")
        check_options(f"zoo:{self.architecture}", ZOO[self.architecture], self.options)
        object.__setattr__(self, "options", json.loads(json.dumps(self.options)))
        if not self.input_shape or min(self.input_shape) < 1:
            raise ModelError(
                f"input shape must be positive sizes such as 1x28x28, got {show_shape(self.input_shape)!r}"
            )
        if self.classes < 2:
            raise ModelError(f"classes must be at least 2, got {self.classes}")
        if self.mean is None and self.std is None:
            return
        if self.mean is None or self.std is None:
            raise ModelError("mean and std go together: give both, or neither for a model without normalisation")
        check_normalisation(self.mean, self.std)
        channels = self.input_shape[0] if len(self.input_shape) == 3 else 1
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ModelError(
                    f"{name} has {len(values)} entries for {channels} channels: give one number, or {channels}"
                )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return serialise.to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `to_dict` turned into `values`.

        Raises:
            ModelError: it is none.
        """
        try:
            return serialise.from_dict(cls, values)
        except DataError as error:
            raise ModelError(str(error)) from None

    def fits(self, input_shape: tuple[int, ...] | None, classes: int | None) -> None:
        """Check the recipe against what the data say (None: unknown).

        Raises:
            ModelError: another input shape or number of classes.
        """
        if input_shape is not None and tuple(input_shape) != self.input_shape:
            raise ModelError(
                f"the model takes inputs of shape {show_shape(self.input_shape)}, the data have "
                f"{show_shape(input_shape)}"
                ": use the data that the model was made for"
            )
        if classes is not None and classes != self.classes:
            raise ModelError(
                f"the model has {self.classes} classes, the data have {classes}: use the data that the "
                "model was made for"
            )


def build(recipe: Recipe, *, seed: int = 0) -> nn.Module:
    """A model from its recipe, in eval mode, weights drawn at random from `seed`; it carries the recipe as `recipe`.

    The global random state is left as it was.

    Raises:
        ModelError: options that contradict each other or do not fit the input.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return _assemble(recipe)


def skeleton(recipe: Recipe) -> nn.Module:
    """The model without memory for its weights (meta tensors): its names and shapes at no cost.

    Raises:
        ModelError: as `build`.
    """
    with torch.device("meta"):
        return _assemble(recipe)


def recipe_of(model: nn.Module) -> Recipe | None:
    """The recipe that a model carries, None for a foreign module."""
    recipe = getattr(model, "recipe", None)
    return recipe if isinstance(recipe, Recipe) else None


def attach(model: nn.Module, recipe: Recipe) -> nn.Module:
    """The model, carrying `recipe` from now on; `save` checks that the two agree."""
    model.recipe = recipe  # type: ignore[assignment]
    return model


def parse_zoo(spec: str, input_shape: tuple[int, ...] | None = None, classes: int | None = None) -> Recipe:
    """The recipe behind `zoo:NAME?option=value&...`.

    Values are whole numbers, numbers, true, false, none, words, or comma lists (`channels=16,32`). Beside the
    architecture's options the query takes `input=1x28x28`, `classes=10`, `mean=` and `std=`; input and classes may
    come from the data instead.

    Raises:
        ModelError: what cannot be parsed, unknown or repeated options, values out of range, or no input or classes.
    """
    name, _, query = spec.removeprefix("zoo:").partition("?")
    if name not in ZOO:
        raise ModelError(f"unknown architecture {name!r} in {spec!r}: expected one of {', '.join(ZOO)}")
    options: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        option, equals, text = part.partition("=")
        if not option or not equals:
            raise ModelError(
                f"cannot read {part!r} in {spec!r}: expected option=value joined by &, as in zoo:mlp?width=256&depth=3"
            )
        if option in options:
            raise ModelError(f"option {option!r} is given twice in {spec!r}: give it once")
        options[option] = _ABOUT_DATA.get(option, _value)(option, text)
    asked_shape, asked_classes = options.pop("input", None), options.pop("classes", None)
    mean, std = options.pop("mean", None), options.pop("std", None)
    shape = asked_shape or input_shape
    count = classes if asked_classes is None else asked_classes
    if shape is None or count is None:
        raise ModelError(
            f"{spec!r} says neither the input shape nor the classes: add input=1x28x28&classes=10, or give the data"
        )
    recipe = Recipe(name, tuple(shape), count, options, mean, std)
    recipe.fits(input_shape, classes)
    return recipe


def show_shape(shape: tuple[int, ...]) -> str:
    """1x28x28."""
    return "x".join(map(str, shape))


def _assemble(recipe: Recipe) -> nn.Module:
    name, function = f"zoo:{recipe.architecture}", ZOO[recipe.architecture]
    options = check_options(name, function, recipe.options)
    try:
        model = function(recipe.input_shape, recipe.classes, **options)
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # sizes that no memory holds
        raise ModelError(f"{name} cannot be built ({first_line(error)}): choose smaller sizes") from None
    if recipe.mean is not None and recipe.std is not None:
        model = Pixels(recipe.mean, recipe.std, model)
    return attach(model.eval(), recipe)


def _scalar(option: str, text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if not math.isfinite(number):
            raise ModelError(f"option {option} must be a finite number, got {text}")
        return number
    return text


def _value(option: str, text: str) -> Any:
    if not text:
        raise ModelError(f"option {option} has no value: expected {option}=VALUE, or {option}=none")
    # A trailing comma makes a list of one.
    return [_scalar(option, t) for t in text.split(",") if t] if "," in text else _scalar(option, text)


def _shape(option: str, text: str) -> tuple[int, ...]:
    sizes = text.replace(",", "x").split("x")
    if not all(size.isdecimal() for size in sizes):
        raise ModelError(f"option {option} must be sizes such as 1x28x28, got {text!r}")
    return tuple(map(int, sizes))


def _count(option: str, text: str) -> int:
    if not text.isdecimal():
        raise ModelError(f"option {option} must be a whole number, got {text!r}")
    return int(text)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(t) for t in text.split(","))
    except ValueError:
        raise ModelError(
            f"option {option} must be a number, or one for each channel joined by commas, got {text!r}"
        ) from None


_ABOUT_DATA: dict[str, Callable[[str, str], Any]] = {
    "input": _shape,
    "classes": _count,
    "mean": _numbers,
    "std": _numbers,
}
