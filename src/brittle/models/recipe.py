"""The recipe of a model: everything but the weights, as JSON values. `zoo:` strings are recipes for people."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from brittle.errors import DataError, ModelError
from brittle.models.editing.edit import Edit, apply_edits
from brittle.models.foreign import FOREIGN, bare_net
from brittle.models.messages import first_line
from brittle.models.options import check_options
from brittle.models.pixels import Pixels, check_normalisation
from brittle.models.query import ABOUT_DATA, read_value
from brittle.models.zoo import ZOO
from brittle.results import serialise


@dataclass(frozen=True)
class Recipe:
    """An architecture with its options, what surrounds it, and what was changed in it since.

    The architecture is one of the zoo ("mlp") or of another package ("torchvision:resnet18", "timm:vit_tiny..."),
    which must then be installed to build from the recipe; those take no options. `options` holds JSON values, lists
    where the architecture takes tuples. `mean` and `std` (pixel units, one number or one for each channel) put
    normalisation inside the model; None for a model that takes pixels as they are. `edits` name the submodules that
    were replaced by smaller ones, in the order in which that is done.

    Raises:
        ModelError: an architecture, option or value that cannot be built from.
    """

    architecture: str
    input_shape: tuple[int, ...]
    classes: int
    options: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    edits: tuple[Edit, ...] = ()

    def __post_init__(self) -> None:
        if ":" in self.architecture:
            _check_foreign(self.architecture, self.options)
        elif self.architecture in ZOO:
            check_options(f"zoo:{self.architecture}", ZOO[self.architecture], self.options)
        else:
            raise ModelError(f"unknown architecture {self.architecture!r}: expected one of {', '.join(ZOO)}")
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
            # A grey image becomes as many channels as other packages' normalisation has.
            if len(values) not in (1, channels) and not (":" in self.architecture and channels == 1):
                raise ModelError(
                    f"{name} has {len(values)} entries for {channels} channels: give one number, or {channels}"
                )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary; `edits` is left out where there are none."""
        values = serialise.to_dict(self)
        return values if self.edits else {key: value for key, value in values.items() if key != "edits"}

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
        return _surrounded(_base(recipe), recipe)


def skeleton(recipe: Recipe) -> nn.Module:
    """The model without memory for its weights (meta tensors): its names and shapes at no cost.

    Buffers that no file holds have their values, so that a model is complete once its state dict is assigned.

    Raises:
        ModelError: as `build`.
    """
    package, colon, name = recipe.architecture.partition(":")
    with torch.random.fork_rng(devices=[]):
        # Other packages compute with some of their tensors while they build, so those are not simply put on meta.
        foreign = bare_net(package, name, recipe.classes) if colon else None
        with torch.device("meta"):
            return _surrounded(_base(recipe) if foreign is None else foreign, recipe)


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
        options[option] = ABOUT_DATA.get(option, read_value)(option, text)
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


def _base(recipe: Recipe) -> nn.Module:
    """The architecture alone, on the default device."""
    package, colon, name = recipe.architecture.partition(":")
    if colon:
        return FOREIGN[package](name, recipe.classes)
    function = ZOO[recipe.architecture]
    options = check_options(f"zoo:{package}", function, recipe.options)
    try:
        return function(recipe.input_shape, recipe.classes, **options)
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # sizes that no memory holds
        raise ModelError(f"zoo:{package} cannot be built ({first_line(error)}): choose smaller sizes") from None


def _surrounded(model: nn.Module, recipe: Recipe) -> nn.Module:
    """With its normalisation and its edits, in eval mode."""
    if recipe.mean is not None and recipe.std is not None:
        model = Pixels(recipe.mean, recipe.std, model)
    return attach(apply_edits(model, recipe.edits).eval(), recipe)


def _check_foreign(architecture: str, options: dict[str, Any]) -> None:
    package, _, name = architecture.partition(":")
    if package not in FOREIGN:
        raise ModelError(
            f"unknown architecture {architecture!r}: expected one of {', '.join(ZOO)}, or a name after "
            f"{', '.join(f'{known}:' for known in FOREIGN)}"
        )
    if not is_foreign_name(name):
        raise ModelError(f"cannot read the architecture {architecture!r}: expected a plain name, as in {package}:NAME")
    if options:
        raise ModelError(f"{architecture} takes no options, got {', '.join(options)}: leave them out")


def is_foreign_name(name: str) -> bool:
    """Whether a name is one of a package's own models, never an address that it would fetch something from."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", name) is not None
