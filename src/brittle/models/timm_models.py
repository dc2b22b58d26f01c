"""`timm:NAME`: architectures of the timm package, normalisation put inside the model."""

from __future__ import annotations

from importlib import import_module

import torch

from brittle.errors import ModelError
from brittle.models.loaded import LoadedModel, Request, pour
from brittle.models.messages import first_line
from brittle.models.pixels import Pixels


def from_timm(request: Request) -> LoadedModel:
    """`timm.create_model(NAME)` without download, inside `Pixels` with the mean and std of its configuration.

    Raises:
        ModelError: timm cannot be imported, does not know the name, or the weights do not fit.
    """
    try:
        timm = import_module("timm")
    except Exception as error:  # an installed timm can fail to import because torchvision does
        raise ModelError(f"{request.spec} needs timm ({first_line(error)}): pip install 'brittle[vision]'") from error
    options = {} if request.classes is None else {"num_classes": request.classes}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(request.seed)
            inner = timm.create_model(request.rest, pretrained=False, **options)
    except Exception as error:
        raise ModelError(
            f"timm cannot make {request.rest!r} ({first_line(error)}): see timm.list_models() for the names"
        ) from error
    config = getattr(inner, "pretrained_cfg", None) or inner.default_cfg
    mean, std = tuple(config["mean"]), tuple(config["std"])
    module = Pixels(mean, std, inner)
    notes = pour(module, request.weights, f"no --weights: random weights from seed {request.seed}")
    return LoadedModel(
        module.eval(), request.spec, None, (f"normalised inside the model: mean {mean}, std {std}", *notes)
    )
