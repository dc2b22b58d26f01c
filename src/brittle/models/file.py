"""Model files: weights as safetensors, the recipe as JSON in the metadata. Loading runs no code from the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.files import replacing
from brittle.models.fit import check_finite
from brittle.models.messages import first_line
from brittle.models.recipe import Recipe, recipe_of, skeleton

SUFFIX = ".safetensors"
_KEY = "brittle.recipe"
_MARKS = "brittle.marks"


def save(model: nn.Module, path: str | Path, *, marks: Mapping[str, str] | None = None) -> None:
    """Write a model that carries a recipe (`build`, `attach` and `adopt` put it there) to `path`, a .safetensors file.

    The file is written beside its place and renamed, so a reader never meets half of it. The model is not changed.

    Args:
        model: with a recipe.
        path: of the file.
        marks: words about the model, by name, that `read_marks` gives back; they change nothing in it.

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
    _check(state, skeleton(recipe), "the model")
    metadata = {"format": "pt", _KEY: json.dumps(recipe.to_dict())}
    if marks:
        metadata[_MARKS] = json.dumps(dict(marks))
    try:
        with replacing(path) as temporary:
            save_file(state, temporary, metadata=metadata)
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
    with _opened(path) as file:
        metadata = file.metadata() or {}
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    if _KEY not in metadata:
        raise ModelError(
            f"{path} holds weights but no recipe: name its architecture, as in zoo:mlp?width=256 --weights {path}"
        )
    try:
        values = json.loads(metadata[_KEY])
    except json.JSONDecodeError as error:
        raise ModelError(f"{path} has a recipe that is not JSON ({first_line(error)}): write the file again") from None
    recipe = Recipe.from_dict(values)
    model = skeleton(recipe)
    kind = _check(state, model, str(path))
    model.load_state_dict(state, assign=True)
    # Buffers that no file holds follow the weights.
    return model if kind is None else model.to(kind)


def read_marks(path: str | Path) -> dict[str, str]:
    """The marks that `save` put into a file, without reading its weights; empty where there are none.

    Raises:
        ModelError: the file is missing or broken, or its marks are no words by name.
    """
    path = Path(path)
    with _opened(path) as file:
        text = (file.metadata() or {}).get(_MARKS, "{}")
    try:
        marks = json.loads(text)
    except json.JSONDecodeError:
        marks = None
    if not isinstance(marks, dict) or not all(isinstance(value, str) for value in marks.values()):
        raise ModelError(f"{path} has marks that cannot be read, expected words by name: write the file again")
    return marks


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise ModelError(f"no such model file: {path}; expected a {SUFFIX} file written by brittle")
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is not a safetensors file ({first_line(error)}): write it again, it may be cut short"
        ) from None


def _check(state: dict[str, Tensor], bare: nn.Module, where: str) -> torch.dtype | None:
    """Names, shapes and finite numbers, against a skeleton: a hostile recipe cannot make us reserve memory.

    Returns the floating-point type of the weights, None where there are none.
    """
    expected = {name: tuple(value.shape) for name, value in bare.state_dict().items()}
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
    return next(iter(kinds), None)
