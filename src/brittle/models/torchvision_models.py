"""`torchvision:NAME`: architectures of the torchvision package, normalisation put inside the model."""

from __future__ import annotations

from importlib import import_module

import torch

from brittle.errors import ModelError
from brittle.models.loaded import LoadedModel, Request, pour
from brittle.models.messages import first_line
from brittle.models.pixels import Pixels

# The normalisation of torchvision's ImageNet weights (its documentation, "Models and pre-trained weights")
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def from_torchvision(request: Request) -> LoadedModel:
    """`torchvision.models.get_model(NAME)` without download, inside `Pixels` with the ImageNet mean and std.

    Raises:
        ModelError: torchvision cannot be imported, does not know the name, or the weights do not fit.
    """
    try:
        models = import_module("torchvision.models")
    except Exception as error:  # its compiled operators can be absent: RuntimeError
        raise ModelError(
            f"{request.spec} needs torchvision ({first_line(error)}): pip install "
            "'brittle[vision]', built for your torch"
        ) from error
    options = {} if request.classes is None else {"num_classes": request.classes}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(request.seed)
            inner = models.get_model(request.rest, weights=None, **options)
    except Exception as error:
        raise ModelError(
            f"torchvision cannot make {request.rest!r} ({first_line(error)}): see torchvision.models.list_models()"
        ) from error
    module = Pixels(MEAN, STD, inner)
    notes = pour(module, request.weights, f"no --weights: random weights from seed {request.seed}")
    return LoadedModel(
        module.eval(), request.spec, None, (f"normalised inside the model: mean {MEAN}, std {STD}", *notes)
    )
