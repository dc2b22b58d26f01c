"""The architectures that a recipe can name. A new one is a new file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from brittle.models.cnn import cnn
from brittle.models.mlp import mlp
from brittle.models.resnet import resnet
from brittle.models.resnet_b import resnet_b
from brittle.models.vit import vit

# Each takes (input_shape, classes) and its options as keywords, and maps (b, *input_shape) to logits (b, classes).
ZOO: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet": resnet,
    "resnet_b": resnet_b,
    "vit": vit,
}
