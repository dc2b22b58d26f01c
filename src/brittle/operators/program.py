"""A model's exported program while it is being read, and questions about its arguments.

Legend: one sample's shape leaves out the batch dimension; constants are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from brittle.operators.graph import Node, Op
from brittle.operators.view import LinearView

# Samples in the traced batch: a size that no layer is likely to have, so a mixed-up batch dimension shows.
BATCH = 3


class Unreadable(Exception):
    """An operator used in a way the tables do not cover."""


@dataclass
class Program:
    """A model's exported program while it is being read."""

    constants: dict[str, Tensor]
    parameter_names: dict[str, str]
    nodes: list[Node] = field(default_factory=list)
    index: dict[fx.Node, int] = field(default_factory=dict)
    fixed: dict[fx.Node, Tensor] = field(default_factory=dict)
    used: dict[str, list[str]] = field(default_factory=dict)  # module name -> parameters its views hold
    weights: list[tuple[str, LinearView]] = field(default_factory=list)  # every weight met, even where the graph is opaque

    def is_value(self, argument: object) -> bool:
        """Whether an argument is a tensor that depends on the input."""
        return isinstance(argument, fx.Node) and argument in self.index

    def constant(self, argument: object) -> Tensor | None:
        """An argument that does not depend on the input, as a float64 tensor."""
        if isinstance(argument, fx.Node):
            found = self.fixed.get(argument)
            return found.detach().double() if found is not None and found.is_floating_point() else found
        if isinstance(argument, int | float):
            return torch.tensor(float(argument), dtype=torch.float64)
        return None

    def shape(self, argument: object) -> tuple[int, ...]:
        """Shape of one sample of a value."""
        assert isinstance(argument, fx.Node)
        return self.nodes[self.index[argument]].shape

    def note(self, name: str, *arguments: object) -> None:
        """Remember that the parameters among the arguments belong to the module `name`."""
        for argument in arguments:
            if isinstance(argument, fx.Node) and argument.name in self.parameter_names:
                self.used.setdefault(name, []).append(self.parameter_names[argument.name])


Handler = Callable[[Program, fx.Node, str], tuple[Op, tuple[fx.Node, ...]]]


def operator_name(node: fx.Node) -> str:
    """The operator without overload and without the mark of in-place forms: "aten.relu"."""
    target = str(node.target)
    return target.rsplit(".", 1)[0].removesuffix("_") if target.startswith("aten.") else target


def functional(node: fx.Node) -> Callable[..., Tensor]:
    """The operator as a function that leaves its input alone."""
    target = str(node.target)
    if target.startswith("aten.") and target.rsplit(".", 1)[0].endswith("_"):
        packet = getattr(torch.ops.aten, operator_name(node).removeprefix("aten."))
        return getattr(packet, target.rsplit(".", 1)[1])  # type: ignore[no-any-return]
    assert callable(node.target)
    return node.target


def argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    """An operator's argument by position or name."""
    if position < len(node.args):
        return node.args[position]
    return node.kwargs.get(name, default)


def sample_shape(node: fx.Node) -> tuple[int, ...]:
    """The shape of one sample of a node's output; Unreadable where the batch no longer comes first."""
    shape = tuple(int(n) for n in node.meta["val"].shape)
    if not shape or shape[0] != BATCH:
        raise Unreadable("an operation that moves or merges the batch dimension")
    return shape[1:]


def per_sample(constant: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A constant that broadcasts against (b, *shape), without its batch dimension."""
    if constant.dim() > len(shape):
        if constant.dim() != len(shape) + 1 or constant.shape[0] != 1:
            raise Unreadable("a constant of the batch's size")
        constant = constant[0]
    constant = constant.reshape((1,) * (len(shape) - constant.dim()) + tuple(constant.shape))
    if torch.broadcast_shapes(constant.shape, shape) != torch.Size(shape):
        raise Unreadable("a constant that broadcasts the value")
    return constant
