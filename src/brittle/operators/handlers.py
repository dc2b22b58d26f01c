"""What each operator of an exported program means: a literal table from operator to reading.

A handler returns the operation and the nodes it reads, or raises `UnreadableError` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import fx

from brittle.operators.activations import SLOPES, Slopes
from brittle.operators.graph import Activation, Affine, MaxPool, Reshape, Sum
from brittle.operators.pointwise import AvgPoolView, DiagonalView, SelectView
from brittle.operators.program import (
    Handler,
    Program,
    Reading,
    UnreadableError,
    argument,
    functional,
    operator_name,
    pair,
    per_sample,
    sample_shape,
    value_of,
)
from brittle.operators.view import size
from brittle.operators.weight_handlers import PRODUCT, batch_norm, conv, linear, matmul


def _signed_sum(program: Program, a: tuple[object, float], b: tuple[object, float], name: str) -> Reading:
    """`s a + t b` for pairs (a, s), (b, t), at least one of them a value."""
    if program.is_value(a[0]) and program.is_value(b[0]):
        assert isinstance(a[0], fx.Node)
        assert isinstance(b[0], fx.Node)
        if program.shape(a[0]) != program.shape(b[0]):
            raise UnreadableError("a sum that broadcasts")
        return Sum((a[1], b[1])), (a[0], b[0])
    (value, gain), (other, factor) = (a, b) if program.is_value(a[0]) else (b, a)
    constant = program.constant(other)
    assert isinstance(value, fx.Node)
    if constant is None:
        raise UnreadableError("a sum with something unknown")
    shape = program.shape(value)
    view = DiagonalView(torch.full((1,) * len(shape), gain, dtype=torch.float64), shape)
    shift = per_sample(constant, shape) * factor
    program.note(name, other)
    return Affine(view, shift), (value,)


def _pointwise(sign: float) -> Handler:
    def handle(program: Program, node: fx.Node, name: str) -> Reading:
        alpha = float(node.kwargs.get("alpha", 1.0)) * sign  # type: ignore[arg-type]
        return _signed_sum(program, (node.args[0], 1.0), (node.args[1], alpha), name)

    return handle


def _reversed_sub(program: Program, node: fx.Node, name: str) -> Reading:
    """`b - alpha a`."""
    alpha = float(argument(node, 2, "alpha", 1.0))
    return _signed_sum(program, (node.args[0], -alpha), (node.args[1], 1.0), name)


def _negative(program: Program, node: fx.Node, _name: str) -> Reading:
    x = value_of(node)
    shape = program.shape(x)
    return Affine(DiagonalView(torch.full((1,) * len(shape), -1.0, dtype=torch.float64), shape), None), (x,)


def _times(program: Program, node: fx.Node, name: str) -> Reading:
    a, b = node.args[:2]
    if program.is_value(a) and program.is_value(b):
        raise UnreadableError("a product of two values that depend on the input")
    value, other = (a, b) if program.is_value(a) else (b, a)
    constant = program.constant(other)
    assert isinstance(value, fx.Node)
    if constant is None:
        raise UnreadableError("a product with something unknown")
    shape = program.shape(value)
    view = DiagonalView(per_sample(constant, shape), shape)
    program.note(name, other)
    return Affine(view, None), (value,)


def _divide(program: Program, node: fx.Node, name: str) -> Reading:
    a, b = node.args[:2]
    constant = program.constant(b)
    if not program.is_value(a) or constant is None:
        raise UnreadableError("a division by something that depends on the input")
    if node.kwargs.get("rounding_mode"):
        raise UnreadableError("a division that rounds: its steps have no slope")
    assert isinstance(a, fx.Node)
    shape = program.shape(a)
    view = DiagonalView(per_sample(1.0 / constant, shape), shape)
    program.note(name, b)
    return Affine(view, None), (a,)


def _activation(program: Program, node: fx.Node, _name: str) -> Reading:
    kind, function = operator_name(node), functional(node)
    try:
        slopes = SLOPES[kind](*node.args[1:], **node.kwargs)
    except ValueError as reason:
        raise UnreadableError(str(reason)) from None
    return Activation(kind.removeprefix("aten."), slopes, function), (value_of(node),)


def _prelu(program: Program, node: fx.Node, name: str) -> Reading:
    slope = program.constant(node.args[1])
    if slope is None:
        raise UnreadableError("a PReLU whose slope depends on the input")
    program.note(name, node.args[1])
    slopes = Slopes(min(1.0, float(slope.min())), max(1.0, float(slope.max())))
    return Activation("prelu", slopes, lambda v: F.prelu(v, slope)), (value_of(node),)


def _max_pool(program: Program, node: fx.Node, _name: str) -> Reading:
    kernel = pair(node.args[1])
    stride = pair(argument(node, 2, "stride", []) or kernel)
    padding, dilation = pair(argument(node, 3, "padding", 0)), pair(argument(node, 4, "dilation", 1))
    ceil_mode = bool(argument(node, 5, "ceil_mode", False))
    return MaxPool(kernel, stride, padding, dilation, ceil_mode), (value_of(node),)  # type: ignore[arg-type]


def _avg_pool(program: Program, node: fx.Node, _name: str) -> Reading:
    x = value_of(node)
    if argument(node, 6, "divisor_override", None) is not None:
        raise UnreadableError("average pooling with its own divisor")
    kernel = pair(node.args[1])
    view = AvgPoolView(
        program.shape(x),
        kernel,
        pair(argument(node, 2, "stride", []) or kernel),
        pair(argument(node, 3, "padding", 0)),
        bool(argument(node, 4, "ceil_mode", False)),
        bool(argument(node, 5, "count_include_pad", True)),
    )
    return Affine(view, None), (x,)


def _select(program: Program, node: fx.Node, _name: str) -> Reading:
    """Slices, zero padding, permutations, means: non-negative linear maps that never mix samples."""
    x, function = value_of(node), functional(node)
    zeros = operator_name(node) == "aten.pad" and argument(node, 2, "mode", "constant") == "constant"
    if zeros and argument(node, 3, "value", None):
        raise UnreadableError("padding with a constant other than zero")
    return Affine(SelectView(function, program.shape(x), sample_shape(node)), None), (x,)


def _reshape(program: Program, node: fx.Node, _name: str) -> Reading:
    x = value_of(node)
    if size(sample_shape(node)) != size(program.shape(x)):
        raise UnreadableError("a reshape across samples")
    return Reshape(), (x,)


def _same(program: Program, node: fx.Node, _name: str) -> Reading:
    return Reshape(), (value_of(node),)


def _dropout(program: Program, node: fx.Node, _name: str) -> Reading:
    if bool(node.args[2]):
        raise UnreadableError("dropout in training mode")
    return Reshape(), (value_of(node),)


# The operators that hold a layer's weight as their second argument.
WEIGHTED: dict[str, Handler] = {
    "aten.linear": linear,
    "aten.matmul": matmul,
    "aten.conv1d": conv,
    "aten.conv2d": conv,
}

OPERATORS: dict[str, Handler] = {
    **WEIGHTED,
    "aten.batch_norm": batch_norm,
    "aten.add": _pointwise(1.0),
    "aten.sub": _pointwise(-1.0),
    "aten.rsub": _reversed_sub,
    "aten.neg": _negative,
    "aten.mul": _times,
    "aten.div": _divide,
    "aten.max_pool2d": _max_pool,
    "aten.avg_pool2d": _avg_pool,
    **dict.fromkeys(SLOPES, _activation),
    "aten.prelu": _prelu,
    **dict.fromkeys(("aten.view", "aten.reshape", "aten.flatten", "aten.unsqueeze", "aten.squeeze"), _reshape),
    **dict.fromkeys(("aten.unflatten", "aten._unsafe_view"), _reshape),
    **dict.fromkeys(("aten.dropout", "aten.feature_dropout", "aten.alpha_dropout"), _dropout),
    **dict.fromkeys(("aten.contiguous", "aten.clone", "aten.alias", "aten.detach"), _same),
    **dict.fromkeys(
        ("aten.permute", "aten.transpose", "aten.slice", "aten.select", "aten.narrow", "aten.pad"), _select
    ),
    **dict.fromkeys(("aten.mean", "aten.adaptive_avg_pool1d", "aten.adaptive_avg_pool2d", "aten.avg_pool1d"), _select),
}


def _attention(_node: fx.Node) -> str:
    return "dot-product attention has no global Lipschitz constant (Kim et al. 2021)"


def _norm(name: str, eps_at: int) -> Callable[[fx.Node], str]:
    """The slope `1 / sqrt(variance + eps)` of a norm peaks at `1 / sqrt(eps)`, on inputs that do not vary."""

    def why(node: fx.Node) -> str:
        eps = float(argument(node, eps_at, "eps", None) or 0.0)
        if eps <= 0.0:
            return f"{name} norm's constant grows without limit as its input's variance shrinks"
        grown = f"grows to {eps**-0.5:,.0f} as its input's variance shrinks"
        return f"{name} norm's constant {grown}: too large to say anything"

    return why


# Operators without a global Lipschitz constant, or with none that says anything, and why
UNBOUNDED: dict[str, Callable[[fx.Node], str]] = {
    "aten.scaled_dot_product_attention": _attention,
    "aten.softmax": lambda _node: "softmax inside the network is read as part of attention, which has no constant",
    "aten.layer_norm": _norm("layer", 4),
    "aten.rms_norm": _norm("root-mean-square", 3),
    "aten.group_norm": _norm("group", 4),
    "aten.instance_norm": _norm("instance", 7),
    "aten.bmm": lambda _node: PRODUCT,
}
