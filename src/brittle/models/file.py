"""Model files: weights as safetensors, the recipe as JSON in the metadata. Loading runs no code from the file."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.files import replacing
from brittle.models.fit import check_finite
from brittle.models.messages import first_line
from brittle.models.recipe import Recipe, build, recipe_of, skeleton

SUFFIX = ".safetensors"
_KEY = "brittle.recipe"


def save(model: nn.Module, path: str | Path) -> None:
    """Write a model that carries a recipe (`build` and `attach` put it there) to `path`, a .safetensors file.

    The file is written beside its place and renamed, so a reader never meets half of it. The model is not changed.

    Raises:
        ModelError: no recipe, a recipe that does not describe the weights, weights with NaN or infinity, another
            suffix, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ModelError(f"a model file ends in {SUFFIX}, got {path.name!r}: choose {path.with_suffix(SUFFIX).name}")
    recipe = recipe_of(model)
    if recipe is None:
        raise ModelError(
            "the model carries no recipe, so its file could not be loaded again: build it from zoo:..., "
            "or save model.state_dict() and load it with --weights"
        )
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    _check(state, recipe, "the model")
    try:
        with replacing(path) as temporary:
            save_file(state, temporary, metadata={"format": "pt", _KEY: json.dumps(recipe.to_dict())})
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(
            f"cannot write {path} ({first_line(error)}): choose a folder that exists and can be written"
        ) from None


def load(path: str | Path) -> nn.Module:
    """The model that `save` wrote, in eval mode on the CPU, with the file's dtype; it carries its recipe.

    Raises:
        ModelError: the file is missing or broken, has no recipe, or its weights do not fit it or are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"no such model file: {path}; expected a {SUFFIX} file written by brittle")
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is not a safetensors file ({first_line(error)}): write it again, it may be cut short"
        ) from None
    if _KEY not in metadata:
        raise ModelError(
            f"{path} holds weights but no recipe: name its architecture, as in zoo:mlp?width=256 --weights {path}"
        )
    try:
        values = json.loads(metadata[_KEY])
    except json.JSONDecodeError as error:
        raise ModelError(f"{path} has a recipe that is not JSON ({first_line(error)}): write the file again") from None
    recipe = Recipe.from_dict(values)
    _check(state, recipe, str(path))
    model = build(recipe)
    model.load_state_dict(state, assign=True)
    return model


def _check(state: dict[str, Tensor], recipe: Recipe, where: str) -> None:
    """Names, shapes and finite numbers, against a skeleton: a hostile recipe cannot make us reserve memory."""
    expected = {name: tuple(value.shape) for name, value in skeleton(recipe).state_dict().items()}
    for name, shape in expected.items():
        if name not in state:
            raise ModelError(f"{where} lacks weight {name!r} of shape {shape} that its recipe describes: make it again")
        if tuple(state[name].shape) != shape:
            raise ModelError(
                f"weight {name!r} of {where} has shape {tuple(state[name].shape)}, its recipe says "
                f"{shape}: make it again"
            )
    for name, value in state.items():
        if name not in expected:
            raise ModelError(f"{where} has a weight {name!r} that its recipe does not describe: make it again")
        check_finite(name, value)
    kinds = {value.dtype for value in state.values() if value.is_floating_point()}
    if len(kinds) > 1 or not all(v.is_floating_point() or v.dtype == torch.int64 for v in state.values()):
        raise ModelError(
            f"{where} mixes number types ({', '.join(sorted(map(str, kinds)))}): expected one floating-point type"
        )
