"""What a kind of change is: which modules it describes, and how one is made from the module that it replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class EditKind:
    """One kind of change.

    Attributes:
        sizes: names of the numbers that describe it, each at least 1.
        may_be_zero: those of them that can be 0 ("bias": 0 or 1).
        describes: whether a module of a changed network is of this kind.
        replaces: whether it can stand in place of a module.
        read: the sizes of a module that it describes.
        make: the module of these sizes in place of the one given, which may be changed; what is no size (kernel, step,
            padding, ...) comes from that one, new weights are drawn at random on the default device.
    """

    sizes: tuple[str, ...]
    may_be_zero: tuple[str, ...]
    describes: Callable[[nn.Module], bool]
    replaces: Callable[[nn.Module], bool]
    read: Callable[[nn.Module], dict[str, int]]
    make: Callable[[nn.Module, Sizes], nn.Module]


def of_class(*classes: type[nn.Module]) -> Callable[[nn.Module], bool]:
    """A test for modules of these classes and their subclasses."""
    return lambda module: isinstance(module, classes)


def new_parameter(*shape: int) -> nn.Parameter:
    """A parameter without values, on the default device."""
    return nn.Parameter(torch.empty(shape))
