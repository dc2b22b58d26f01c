"""The one front door: a MODEL string becomes a module in eval mode."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.models.exported import from_exported
from brittle.models.file import SUFFIX, load
from brittle.models.hub import from_hub
from brittle.models.loaded import FrontDoor, LoadedModel, Request, pour
from brittle.models.messages import first_line
from brittle.models.onnx_door import from_onnx
from brittle.models.python_code import from_python
from brittle.models.recipe import build, parse_zoo, recipe_of, show_shape
from brittle.models.timm_models import from_timm
from brittle.models.torchvision_models import from_torchvision

# Files that hold weights at best, so they cannot name a model on their own
_WEIGHT_SUFFIXES = (".pt", ".pth", ".th", ".pkl", ".pickle", ".ckpt", ".bin", ".tar")


def load_model(
    spec: str,
    *,
    weights: str | Path | None = None,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    seed: int = 0,
) -> LoadedModel:
    """The model that a MODEL string names.

    Args:
        spec: `F.safetensors` written by brittle, `zoo:NAME?option=value&...`, `timm:NAME`, `torchvision:NAME`,
            `hf:NAME_OR_FOLDER`, `onnx:F.onnx`, `export:F.pt2`, or `python:pkg.module:callable`, the one form
            that runs the user's code.
        weights: a state dict for all but the files, as safetensors or a torch file (`F.pth#1`: entry 1 of a list).
        input_shape: (channels, height, width) of the data, where known; the model is checked against it.
        classes: classes of the data, where known.
        seed: draws the weights where there is no file.

    Raises:
        ModelError: a string of no known form, or anything about the model that cannot be used.
    """
    prefix, colon, rest = spec.partition(":")
    text = None if weights is None else str(weights)
    request = Request(spec, rest, text, None if input_shape is None else tuple(input_shape), classes, seed)
    if colon and prefix in FRONT_DOORS:
        loaded = FRONT_DOORS[prefix](request)
    elif Path(spec).suffix == SUFFIX:
        loaded = _from_file(request)
    elif Path(spec).suffix in _WEIGHT_SUFFIXES:
        raise ModelError(
            f"{spec} holds weights at best, not an architecture: name one, as in zoo:resnet?depth=20 --weights {spec}"
        )
    else:
        raise ModelError(
            f"unknown model {spec!r}: expected F{SUFFIX}, or a name after {', '.join(f'{p}:' for p in FRONT_DOORS)}"
        )
    _check_logits(loaded.module, request)
    return loaded


def _from_file(request: Request) -> LoadedModel:
    if request.weights is not None:
        raise ModelError(
            f"{request.spec} has its own weights: leave --weights out, or name an architecture in its place"
        )
    module = load(request.spec)
    recipe = recipe_of(module)
    assert recipe is not None
    recipe.fits(request.input_shape, request.classes)
    return LoadedModel(module, request.spec, recipe, ())


def _from_zoo(request: Request) -> LoadedModel:
    recipe = parse_zoo(request.spec, request.input_shape, request.classes)
    module = build(recipe, seed=request.seed)
    notes = pour(module, request.weights, f"no --weights: random weights from seed {request.seed}")
    return LoadedModel(module, request.spec, recipe, notes)


# What each prefix of a MODEL string opens
FRONT_DOORS: dict[str, FrontDoor] = {
    "zoo": _from_zoo,
    "timm": from_timm,
    "torchvision": from_torchvision,
    "hf": from_hub,
    "onnx": from_onnx,
    "export": from_exported,
    "python": from_python,
}


def _check_logits(module: nn.Module, request: Request) -> None:
    """One forward pass: what the data will meet, met before any work starts."""
    if request.input_shape is None:
        return
    parameter = next(module.parameters(), torch.zeros(()))
    x = torch.full((2, *request.input_shape), 0.5, dtype=parameter.dtype, device=parameter.device)
    shape = show_shape(request.input_shape)
    try:
        with torch.no_grad():
            y = module(x)
    except Exception as error:
        raise ModelError(
            f"{request.spec} fails on inputs of shape {shape} ({first_line(error)}): "
            "use the data that the model was made for"
        ) from error
    if not isinstance(y, Tensor) or y.dim() != 2 or len(y) != 2:
        raise ModelError(f"{request.spec} must return logits (batch, classes), got {_what(y)} for a batch of 2")
    if request.classes is not None and y.shape[1] != request.classes:
        raise ModelError(
            f"{request.spec} returns {y.shape[1]} logits, the data have {request.classes} classes: use data that fit"
        )


def _what(y: object) -> str:
    return f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
