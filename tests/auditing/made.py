"""Made data and nets so small that an audit takes a fraction of a second: three bright squares on 4 x 4 pixels."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from brittle.auditing.options import AuditOptions
from brittle.data.dataset import Dataset
from brittle.models.recipe import Recipe, build

CLASSES = ("left", "middle", "right")
SHAPE = (1, 4, 4)
OPTIONS = AuditOptions(norms=("linf",), epsilon={"linf": (0.1,)}, samples=None, effort="quick", batch_size=16)


def samples(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Column y of the image is bright, the rest noise: x (n, 1, 4, 4), y (n,)."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = 0.5 * torch.rand(n, *SHAPE, generator=generator)
    x[torch.arange(n), 0, :, y] += 0.4 * torch.rand(n, 4, generator=generator)
    return x, y


def dataset(n: int = 40, seed: int = 0) -> Dataset:
    """The split "test" alone."""
    return Dataset("squares", CLASSES, SHAPE, ("test",), partial(_load, n, seed))


def _load(n: int, seed: int, name: str) -> tuple[Tensor, Tensor]:
    return samples(n, seed)


def linear_net(sharpness: float = 1.0, clutter: float = 0.0) -> nn.Module:
    """The exact classifier of the columns' sums, with weights of random clutter on top."""
    net = build(Recipe("mlp", SHAPE, 3, {"depth": 0}))
    weight = torch.zeros(3, 4, 4)
    for label in range(3):
        weight[label, :, label] = sharpness
    noise = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        net.get_submodule("head").weight.copy_(weight.flatten(1) + clutter * noise)
        net.get_submodule("head").bias.zero_()
    return net


def relu_net(width: int = 6, seed: int = 0) -> nn.Module:
    """One hidden layer of random features around the exact classifier, so most samples are right."""
    net = build(Recipe("mlp", SHAPE, 3, {"width": width, "depth": 1}), seed=seed)
    with torch.no_grad():
        hidden, head = net.get_submodule("fc1"), net.get_submodule("head")
        hidden.weight[:3] = linear_net().get_submodule("head").weight
        hidden.bias[:3] = 0
        head.weight[:, :3] = torch.eye(3)
        head.weight[:, 3:] *= 0.3
    return net
