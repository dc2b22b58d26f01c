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

# Samples in the traced batch: a prime that few layers have as a size, so a mixed-up batch dimension shows.
BATCH = 13


class UnreadableError(Exception):
    """An operator used in a way the tables do not cover."""


class UnboundedError(UnreadableError):
    """An operation that has no global Lipschitz constant, or none that says anything."""


@dataclass
class Program:
    """A model's exported program while it is being read.

    `used` maps a label to the parameters its node holds: of a weight its layer's name, else a module's name.
    `weights` lists every weight met, even where the graph is opaque; `gains` are the gain and shift of a norm that a
    later layer takes over; `idle` are parameters that the model's output does not depend on.
    """

    constants: dict[str, Tensor]
    parameter_names: dict[str, str]
    nodes: list[Node] = field(default_factory=list)
    index: dict[fx.Node, int] = field(default_factory=dict)
    fixed: dict[fx.Node, Tensor] = field(default_factory=dict)
    origins: dict[fx.Node, list[str]] = field(default_factory=dict)
    used: dict[str, list[str]] = field(default_factory=dict)
    weights: list[tuple[str, LinearView]] = field(default_factory=list)
    labels: dict[str, fx.Node] = field(default_factory=dict)
    gains: dict[fx.Node, tuple[Tensor, Tensor]] = field(default_factory=dict)
    idle: set[str] = field(default_factory=set)

    def is_value(self, argument: object) -> bool:
        """Whether an argument is a tensor that depends on the input."""
        return isinstance(argument, fx.Node) and argument in self.index

    def constant(self, argument: object) -> Tensor | None:
        """An argument that does not depend on the input, as a float64 tensor."""
        if isinstance(argument, fx.Node):
            found = self.fixed.get(argument)
            return None if found is None else found.detach().to(torch.float64)
        if isinstance(argument, int | float):
            return torch.tensor(float(argument), dtype=torch.float64)
        return None

    def shape(self, argument: object) -> tuple[int, ...]:
        """Shape of one sample of a value."""
        assert isinstance(argument, fx.Node)
        return self.nodes[self.index[argument]].shape

    def fix(self, node: fx.Node, value: Tensor, origins: list[str]) -> None:
        """Remember a tensor that does not depend on the input, and the parameters it is made from."""
        self.fixed[node] = value
        self.origins[node] = origins

    def label(self, weight: object, module: str) -> str:
        """A name for the layer of a weight: its parameter's ("fc1" for "fc1.weight"), else the module's.

        No two weights share one: a second one of the same module gets a number.
        """
        base = module
        if isinstance(weight, fx.Node) and weight.name in self.parameter_names:
            base = self.parameter_names[weight.name].removesuffix(".weight")
        name, count = base, 1
        while isinstance(weight, fx.Node) and self.labels.setdefault(name, weight) is not weight:
            count += 1
            name = f"{base}#{count}"
        return name

    def note(self, name: str, *arguments: object) -> None:
        """Remember that the parameters behind the arguments belong to the node `name`."""
        for argument in arguments:
            if isinstance(argument, fx.Node):
                self.used.setdefault(name, []).extend(self.origins.get(argument, []))


Reading = tuple[Op, tuple[fx.Node, ...]]
Handler = Callable[[Program, fx.Node, str], Reading]


def operator_name(node: fx.Node) -> str:
    """The operator without overload and without the mark of in-place forms: "aten.relu"."""
    target = str(node.target)
    return target.rsplit(".", 1)[0].removesuffix("_") if target.startswith("aten.") else target


def functional(node: fx.Node) -> Callable[..., Tensor]:
    """The operator as a function that leaves its input alone, all other arguments set.

    Raises:
        UnreadableError: another argument is a tensor.
    """
    rest, named = node.args[1:], dict(node.kwargs)
    others: list[fx.Node] = []
    fx.map_arg((rest, named), others.append)
    if others:
        raise UnreadableError(f"the operator {operator_name(node)} with settings that are tensors")
    target = node.target
    name = str(target)
    if name.startswith("aten.") and name.rsplit(".", 1)[0].endswith("_"):  # the in-place form
        packet = getattr(torch.ops.aten, operator_name(node).removeprefix("aten."))
        target = getattr(packet, name.rsplit(".", 1)[1])
    assert callable(target)
    function = target
    return lambda x: function(x, *rest, **named)


def argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    """An operator's argument by position or name."""
    if position < len(node.args):
        return node.args[position]
    return node.kwargs.get(name, default)


def value_of(node: fx.Node) -> fx.Node:
    """The operator's first argument, a tensor."""
    first = node.args[0]
    assert isinstance(first, fx.Node)
    return first


def pair(value: Any, count: int = 2) -> tuple[int, ...]:
    """One number for every axis, or the numbers themselves."""
    values = tuple(int(v) for v in value) if isinstance(value, list | tuple) else (int(value),)
    return values * count if len(values) == 1 else values


def sample_shape(node: fx.Node) -> tuple[int, ...]:
    """The shape of one sample of a node's output; UnreadableError where the batch no longer comes first."""
    shape = tuple(int(n) for n in node.meta["val"].shape)
    if not shape or shape[0] != BATCH:
        raise UnreadableError("an operation that moves or merges the batch dimension")
    return shape[1:]


def per_sample(constant: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A constant that broadcasts against (b, *shape), without its batch dimension."""
    if constant.dim() > len(shape):
        if constant.dim() != len(shape) + 1 or constant.shape[0] != 1:
            raise UnreadableError("a constant of the batch's size")
        constant = constant[0]
    constant = constant.reshape((1,) * (len(shape) - constant.dim()) + tuple(constant.shape))
    try:
        fits = torch.broadcast_shapes(constant.shape, shape) == torch.Size(shape)
    except RuntimeError:
        fits = False
    if not fits:
        raise UnreadableError("a constant that broadcasts the value")
    return constant
