"""`hf:NAME_OR_FOLDER`: models of transformers, from a local folder or the hub; never code, never pickles."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from brittle.errors import ModelError
from brittle.models.hub_pixels import HubPixels, hub_pixels
from brittle.models.loaded import LoadedModel, Request
from brittle.models.logits import Logits
from brittle.models.messages import first_line
from brittle.models.pixels import Pixels
from brittle.models.weights import read_checkpoint, split_index


def from_hub(request: Request) -> LoadedModel:
    """An image classifier inside `Pixels`, logits taken out; any other model as it is, for its structure.

    Weights come from safetensors files, or from `--weights`, which a configuration alone then suffices for. Code that
    a repository brings along is never run.

    Raises:
        ModelError: transformers cannot be imported, the name cannot be reached, the model needs code of its own, its
            weights are no safetensors or do not cover the model, or it takes no pixels although there are data.
    """
    if not request.rest:
        raise ModelError(
            "hf: names no model: expected hf:FOLDER or hf:OWNER/NAME, as in hf:google/vit-base-patch16-224"
        )
    kit = _transformers(request.spec)
    config = _asked(request, lambda: kit.AutoConfig.from_pretrained(request.rest, **_where(request)))
    if not _is_image_classifier(kit, config):
        return _structure_only(kit, config, request)
    inner, notes = _made(kit, kit.AutoModelForImageClassification, config, request)
    pixels, said = _pixels(kit, request)
    module = Logits(inner) if pixels is None else Pixels(pixels.mean, pixels.std, Logits(inner))
    return LoadedModel(module.eval(), request.spec, None, (*said, *notes))


def _transformers(spec: str) -> Any:
    try:
        return import_module("transformers")
    except Exception as error:
        raise ModelError(f"{spec} needs transformers ({first_line(error)}): pip install 'brittle[hub]'") from error


def _where(request: Request) -> dict[str, Any]:
    """Never code of the repository's; a folder on this machine needs no network."""
    return {"trust_remote_code": False, "local_files_only": Path(request.rest).is_dir()}


def _asked(request: Request, call: Any) -> Any:
    """What transformers answers; all that it can raise, in one line."""
    try:
        return call()
    except Exception as error:  # OSError, ValueError, ImportError and the hub's own
        text = str(error)
        if "trust_remote_code" in text or "custom code" in text:
            raise ModelError(
                f"{request.spec} needs Python code of its own repository, which is never run: choose a model that "
                "transformers knows, or load it yourself and use python:"
            ) from None
        if "safetensors" in text and ("does not appear to have" in text or "no file named" in text):
            raise ModelError(
                f"{request.spec} has no weights as safetensors, and pickled ones are not read: convert them with "
                "save_pretrained, or give --weights F"
            ) from None
        raise ModelError(
            f"{request.spec} cannot be loaded ({first_line(error)}): expected a folder that save_pretrained wrote, or "
            "a name on the hub with the hub within reach"
        ) from None


def _is_image_classifier(kit: Any, config: Any) -> bool:
    """By the architecture that its configuration names; without one, by whether there is such a classifier."""
    named = getattr(config, "architectures", None)
    if named:
        return any(name.endswith("ForImageClassification") for name in named)
    return type(config) in kit.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING


def _structure_only(kit: Any, config: Any, request: Request) -> LoadedModel:
    if request.input_shape is not None:
        named = (getattr(config, "architectures", None) or [type(config).__name__])[0]
        raise ModelError(
            f"{request.spec} is a {named}, which takes no images: only its structure can be measured, with "
            "brittle audit FOLDER or brittle.structure(model)"
        )
    inner, notes = _made(kit, kit.AutoModel, config, request)
    return LoadedModel(inner.eval(), request.spec, None, ("no image classifier: structure only", *notes))


def _made(kit: Any, factory: Any, config: Any, request: Request) -> tuple[nn.Module, tuple[str, ...]]:
    """The model with all its weights, in float32, and notes."""
    where: str | None = request.rest
    more: dict[str, Any] = {"use_safetensors": True, **_where(request)}
    notes: tuple[str, ...] = ()
    maker = factory
    if request.weights is not None:  # transformers renames the weights of older files itself
        checkpoint = read_checkpoint(*split_index(request.weights))
        where, more, notes = None, {"state_dict": checkpoint.state}, checkpoint.notes
        table = kit.MODEL_MAPPING if factory is kit.AutoModel else kit.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
        maker = _asked(request, lambda: table[type(config)])
    inner, told = _asked(
        request,
        lambda: maker.from_pretrained(where, config=config, output_loading_info=True, dtype=torch.float32, **more),
    )
    missing = sorted(map(str, (*told["missing_keys"], *told["mismatched_keys"])))
    if missing and factory is not kit.AutoModel:  # transformers drew them at random
        raise ModelError(
            f"{request.weights or request.spec} lacks {len(missing)} weights of the classifier, the first "
            f"{missing[0]!r}: choose a model that was trained as a classifier"
        )
    return inner, notes


def _pixels(kit: Any, request: Request) -> tuple[HubPixels | None, tuple[str, ...]]:
    """The processor's normalisation and what to tell people."""
    mixin = import_module("transformers.image_processing_base").ImageProcessingMixin
    local = Path(request.rest).is_dir()
    try:
        config, _ = mixin.get_image_processor_dict(request.rest, local_files_only=local)
    except Exception:  # it is missing
        return None, ("no configuration of an image processor: pixels in [0, 1] go in as they are",)
    found = hub_pixels(config)
    mean, std = (tuple(round(v, 6) for v in values) for values in (found.mean, found.std))
    size = () if found.size is None else (f"made for images of {found.size[0]} x {found.size[1]} pixels",)
    return found, (f"normalised inside the model: mean {mean}, std {std}", *size)
