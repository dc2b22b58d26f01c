"""What each operator of an exported program means: a literal table from operator to reading.

A handler returns the operation and the nodes it reads, or raises `Unreadable` with the reason.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from brittle.operators.activations import SLOPES
from brittle.operators.conv import ConvView
from brittle.operators.graph import Activation, Affine, MaxPool, Op, Reshape, Sum
from brittle.operators.linear import DenseView
from brittle.operators.pointwise import AvgPoolView, DiagonalView, SelectView
from brittle.operators.program import (
    Handler,
    Program,
    Unreadable,
    argument,
    functional,
    operator_name,
    per_sample,
    sample_shape,
)
from brittle.operators.view import size

Read = tuple[Op, tuple[fx.Node, ...]]


def _pair(value: Any, count: int = 2) -> tuple[int, ...]:
    values = tuple(int(v) for v in value) if isinstance(value, list | tuple) else (int(value),)
    return values * count if len(values) == 1 else values


def _linear(program: Program, node: fx.Node, name: str) -> Read:
    x, weight, bias = node.args[0], node.args[1], argument(node, 2, "bias", None)
    w = program.constant(weight)
    if w is None or not isinstance(x, fx.Node):
        raise Unreadable("a linear map whose weight depends on the input")
    view = DenseView(w, program.shape(x))
    program.note(name, weight, bias)
    program.weights.append((name, view))
    return Affine(view, None if bias is None else program.constant(bias)), (x,)


def _conv(program: Program, node: fx.Node, name: str) -> Read:
    x, weight, bias = node.args[0], node.args[1], argument(node, 2, "bias", None)
    w = program.constant(weight)
    if w is None or not isinstance(x, fx.Node):
        raise Unreadable("a convolution whose kernel depends on the input")
    axes = w.dim() - 2
    if axes not in (1, 2):
        raise Unreadable(f"a {axes}-dimensional convolution (1 and 2 are covered)")
    dilation = _pair(argument(node, 5, "dilation", 1), axes)
    padding = argument(node, 4, "padding", 0)
    if padding == "valid":
        padding = 0
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, w.shape[2:], strict=True)]
        sides = tuple((t // 2, t - t // 2) for t in total)
    else:
        sides = tuple((p, p) for p in _pair(padding, axes))
    view = ConvView(
        w,
        program.shape(x),
        stride=_pair(argument(node, 3, "stride", 1), axes),
        padding=sides,
        dilation=dilation,
        groups=int(argument(node, 6, "groups", 1)),
    )
    program.note(name, weight, bias)
    program.weights.append((name, view))
    offset = program.constant(bias)
    return Affine(view, None if offset is None else offset.view(-1, *([1] * axes))), (x,)


def _batch_norm(program: Program, node: fx.Node, name: str) -> Read:
    x, weight, bias, mean, var = node.args[:5]
    assert isinstance(x, fx.Node)
    if bool(node.args[5]):
        raise Unreadable("batch norm in training mode, or without running statistics")
    m, v = program.constant(mean), program.constant(var)
    assert m is not None
    assert v is not None
    gain = torch.rsqrt(v + float(node.args[7]))  # type: ignore[arg-type]
    scale = program.constant(weight)
    gain = gain if scale is None else gain * scale
    shift = program.constant(bias)
    offset = -m * gain if shift is None else shift - m * gain
    shape = program.shape(x)
    spread = (-1, *([1] * (len(shape) - 1)))
    program.note(name, weight, bias)
    return Affine(DiagonalView(gain.view(spread), shape), offset.view(spread)), (x,)


def _pointwise(sign: float) -> Handler:
    def handle(program: Program, node: fx.Node, _name: str) -> Read:
        a, b = node.args[:2]
        alpha = float(node.kwargs.get("alpha", 1.0)) * sign  # type: ignore[arg-type]
        if program.is_value(a) and program.is_value(b):
            assert isinstance(a, fx.Node)
            assert isinstance(b, fx.Node)
            if program.shape(a) != program.shape(b):
                raise Unreadable("a sum that broadcasts")
            return Sum((1.0, alpha)), (a, b)
        value, other, gain, factor = (a, b, 1.0, alpha) if program.is_value(a) else (b, a, alpha, 1.0)
        constant = program.constant(other)
        assert isinstance(value, fx.Node)
        if constant is None:
            raise Unreadable("a sum with something unknown")
        shape = program.shape(value)
        view = DiagonalView(torch.full((1,) * len(shape), gain, dtype=torch.float64), shape)
        return Affine(view, per_sample(constant, shape) * factor), (value,)

    return handle


def _times(program: Program, node: fx.Node, _name: str) -> Read:
    a, b = node.args[:2]
    if program.is_value(a) and program.is_value(b):
        raise Unreadable("a product of two values that depend on the input")
    value, other = (a, b) if program.is_value(a) else (b, a)
    constant = program.constant(other)
    assert isinstance(value, fx.Node)
    if constant is None:
        raise Unreadable("a product with something unknown")
    shape = program.shape(value)
    return Affine(DiagonalView(per_sample(constant, shape), shape), None), (value,)


def _divide(program: Program, node: fx.Node, _name: str) -> Read:
    a, b = node.args[:2]
    constant = program.constant(b)
    if not program.is_value(a) or constant is None or node.kwargs.get("rounding_mode"):
        raise Unreadable("a division by something that depends on the input")
    assert isinstance(a, fx.Node)
    shape = program.shape(a)
    return Affine(DiagonalView(per_sample(1.0 / constant, shape), shape), None), (a,)


def _activation(program: Program, node: fx.Node, _name: str) -> Read:
    x = node.args[0]
    assert isinstance(x, fx.Node)
    kind = operator_name(node)
    slopes = SLOPES[kind](*node.args[1:], **node.kwargs) if kind not in ("aten.clamp", "aten.hardtanh") else SLOPES[kind]()
    rest, named, target = node.args[1:], dict(node.kwargs), functional(node)
    return Activation(kind.removeprefix("aten."), slopes, lambda v: target(v, *rest, **named)), (x,)


def _max_pool(program: Program, node: fx.Node, _name: str) -> Read:
    x = node.args[0]
    assert isinstance(x, fx.Node)
    kernel = _pair(node.args[1])
    stride = _pair(argument(node, 2, "stride", []) or kernel)
    padding, dilation = _pair(argument(node, 3, "padding", 0)), _pair(argument(node, 4, "dilation", 1))
    return MaxPool(kernel, stride, padding, dilation, bool(argument(node, 5, "ceil_mode", False))), (x,)  # type: ignore[arg-type]


def _avg_pool(program: Program, node: fx.Node, _name: str) -> Read:
    x = node.args[0]
    assert isinstance(x, fx.Node)
    if argument(node, 6, "divisor_override", None) is not None:
        raise Unreadable("average pooling with its own divisor")
    kernel = _pair(node.args[1])
    view = AvgPoolView(
        program.shape(x),
        kernel,
        _pair(argument(node, 2, "stride", []) or kernel),
        _pair(argument(node, 3, "padding", 0)),
        bool(argument(node, 4, "ceil_mode", False)),
        bool(argument(node, 5, "count_include_pad", True)),
    )
    return Affine(view, None), (x,)


def _select(program: Program, node: fx.Node, _name: str) -> Read:
    """Slices, zero padding, permutations, means: non-negative linear maps that never mix samples."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    kind, shape = operator_name(node), program.shape(x)
    if kind == "aten.pad" and (argument(node, 2, "mode", "constant") == "constant" and argument(node, 3, "value", None)):
        raise Unreadable("padding with a constant other than zero")
    rest, named, target = node.args[1:], dict(node.kwargs), functional(node)
    view = SelectView(lambda v: target(v, *rest, **named), shape, sample_shape(node))
    return Affine(view, None), (x,)


def _reshape(program: Program, node: fx.Node, _name: str) -> Read:
    x = node.args[0]
    assert isinstance(x, fx.Node)
    if size(sample_shape(node)) != size(program.shape(x)):
        raise Unreadable("a reshape across samples")
    return Reshape(), (x,)


def _same(program: Program, node: fx.Node, _name: str) -> Read:
    x = node.args[0]
    assert isinstance(x, fx.Node)
    if operator_name(node) in ("aten.dropout", "aten.feature_dropout") and bool(node.args[2]):
        raise Unreadable("dropout in training mode")
    return Reshape(), (x,)


OPERATORS: dict[str, Handler] = {
    "aten.linear": _linear,
    "aten.conv1d": _conv,
    "aten.conv2d": _conv,
    "aten.batch_norm": _batch_norm,
    "aten.add": _pointwise(1.0),
    "aten.sub": _pointwise(-1.0),
    "aten.mul": _times,
    "aten.div": _divide,
    "aten.max_pool2d": _max_pool,
    "aten.avg_pool2d": _avg_pool,
    **dict.fromkeys(SLOPES, _activation),
    **dict.fromkeys(("aten.view", "aten.reshape", "aten.flatten", "aten.unsqueeze", "aten.squeeze"), _reshape),
    **dict.fromkeys(("aten.unflatten", "aten._unsafe_view"), _reshape),
    **dict.fromkeys(("aten.dropout", "aten.feature_dropout", "aten.contiguous", "aten.clone", "aten.alias"), _same),
    **dict.fromkeys(("aten.permute", "aten.transpose", "aten.slice", "aten.select", "aten.pad"), _select),
    **dict.fromkeys(("aten.constant_pad_nd", "aten.mean", "aten.adaptive_avg_pool2d", "aten.narrow"), _select),
}

# Operators without a global Lipschitz constant, and why
UNBOUNDED = {
    "aten.scaled_dot_product_attention": "dot-product attention has no global Lipschitz constant (Kim et al. 2021)",
    "aten.softmax": "softmax inside the network is read only as part of attention, which has no global constant",
    "aten.layer_norm": "layer norm's constant grows without limit as its input's variance shrinks",
    "aten.group_norm": "group norm's constant grows without limit as its input's variance shrinks",
    "aten.instance_norm": "instance norm's constant grows without limit as its input's variance shrinks",
    "aten.matmul": "a product of two values that depend on the input has no global constant",
    "aten.bmm": "a product of two values that depend on the input has no global constant",
}
