"""`torchvision:NAME`: architectures of the torchvision package, normalisation put inside the model."""

from __future__ import annotations

from types import ModuleType

import torch

from brittle.models.foreign import torchvision_models, torchvision_net
from brittle.models.loaded import LoadedModel, Request, foreign_recipe, pour
from brittle.models.pixels import Pixels
from brittle.models.recipe import attach

# The normalisation of torchvision's ImageNet weights (its documentation, "Models and pre-trained weights")
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def from_torchvision(request: Request) -> LoadedModel:
    """`torchvision.models.get_model(NAME)` without download, inside `Pixels` with the ImageNet mean and std.

    Raises:
        ModelError: torchvision cannot be imported, does not know the name, or the weights do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(request.seed)
        inner = torchvision_net(request.rest, request.classes)
    module = Pixels(MEAN, STD, inner)
    notes = pour(module, request.weights, f"no --weights: random weights from seed {request.seed}")
    side, classes = _defaults(torchvision_models(request.spec), request.rest)
    recipe = foreign_recipe(request, (3, side, side), classes, MEAN, STD)
    if recipe is not None:
        attach(module, recipe)
    return LoadedModel(
        module.eval(), request.spec, recipe, (f"normalised inside the model: mean {MEAN}, std {STD}", *notes)
    )


def _defaults(models: ModuleType, name: str) -> tuple[int, int]:
    """Side of the images and number of classes of the package's own weights; those of ImageNet where it has none."""
    try:
        weights = next(iter(models.get_model_weights(name)))
        return int(weights.transforms().crop_size[0]), len(weights.meta["categories"])
    except Exception:  # the package's ways of saying so differ between its versions
        return 224, 1000
