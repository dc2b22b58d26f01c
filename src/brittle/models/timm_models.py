"""`timm:NAME`: architectures of the timm package, normalisation put inside the model."""

from __future__ import annotations

from typing import Any

import torch

from brittle.models.foreign import timm_net
from brittle.models.loaded import LoadedModel, Request, foreign_recipe, pour
from brittle.models.pixels import Pixels
from brittle.models.recipe import attach


def from_timm(request: Request) -> LoadedModel:
    """`timm.create_model(NAME)` without download, inside `Pixels` with the mean and std of its configuration.

    Raises:
        ModelError: timm cannot be imported, does not know the name, or the weights do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(request.seed)
        inner = timm_net(request.rest, request.classes)
    config: dict[str, Any] = getattr(inner, "pretrained_cfg", None) or inner.default_cfg  # type: ignore[assignment]
    mean, std = tuple(config["mean"]), tuple(config["std"])
    module = Pixels(mean, std, inner)
    notes = pour(module, request.weights, f"no --weights: random weights from seed {request.seed}")
    shape = tuple(config.get("input_size", (3, 224, 224)))
    recipe = foreign_recipe(request, shape, int(config.get("num_classes", 1000)), mean, std)
    if recipe is not None:
        attach(module, recipe)
    return LoadedModel(
        module.eval(), request.spec, recipe, (f"normalised inside the model: mean {mean}, std {std}", *notes)
    )
