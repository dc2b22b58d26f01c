"""What linear layers, convolutions and batch norm of an exported program mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from brittle.operators.conv import MODES, ConvView
from brittle.operators.graph import Affine
from brittle.operators.linear import DenseView
from brittle.operators.norm_gains import with_gain
from brittle.operators.pointwise import DiagonalView
from brittle.operators.program import (
    Program,
    Reading,
    UnboundedError,
    UnreadableError,
    argument,
    operator_name,
    pair,
    value_of,
)

Sides = tuple[tuple[int, int], ...]
PRODUCT = "a product of two values that depend on the input has no global constant"


def linear(program: Program, node: fx.Node, name: str) -> Reading:
    """`x W^t + bias` on the last dimension."""
    x, weight, bias = value_of(node), node.args[1], argument(node, 2, "bias", None)
    w = program.constant(weight)
    if w is None or not program.is_value(x) or program.is_value(bias):
        raise UnreadableError("a linear map whose weight or bias depends on the input")
    op = with_gain(program, node, Affine(DenseView(w, program.shape(x)), program.constant(bias)))
    program.note(name, weight, bias)
    program.weights.append((name, op.view))
    return op, (x,)


def matmul(program: Program, node: fx.Node, name: str) -> Reading:
    """`x @ M` with a constant matrix M."""
    w = program.constant(node.args[1])
    if program.is_value(node.args[0]) and program.is_value(node.args[1]):
        raise UnboundedError(PRODUCT)
    if w is None or w.dim() != 2 or not program.is_value(node.args[0]):
        raise UnreadableError("a product with a batch of matrices, or with one on the left")
    x = value_of(node)
    view = DenseView(w.T, program.shape(x))
    program.note(name, node.args[1])
    program.weights.append((name, view))
    return Affine(view, None), (x,)


def conv(program: Program, node: fx.Node, name: str) -> Reading:
    """A one- or two-dimensional convolution; a padding right before it joins it, as one operator on its real input."""
    x, weight, bias = value_of(node), node.args[1], argument(node, 2, "bias", None)
    w = program.constant(weight)
    if w is None or not program.is_value(x) or program.is_value(bias):
        raise UnreadableError("a convolution whose kernel or bias depends on the input")
    axes = w.dim() - 2
    if axes not in (1, 2):
        raise UnreadableError(f"a {axes}-dimensional convolution (1 and 2 are covered)")
    dilation = pair(argument(node, 5, "dilation", 1), axes)
    sides = _sides(argument(node, 4, "padding", 0), tuple(w.shape[2:]), dilation)
    x, sides, mode = _with_padding(program, x, sides)
    view = ConvView(
        w,
        program.shape(x),
        stride=pair(argument(node, 3, "stride", 1), axes),
        padding=sides,
        dilation=dilation,
        groups=int(argument(node, 6, "groups", 1)),
        padding_mode=mode,
    )
    offset = program.constant(bias)
    op = with_gain(program, node, Affine(view, None if offset is None else offset.view(-1, *([1] * axes))))
    program.note(name, weight, bias)
    program.weights.append((name, op.view))
    return op, (x,)


def _sides(padding: object, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> Sides:
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    return tuple((p, p) for p in pair(0 if padding == "valid" else padding, len(kernel)))


def _with_padding(program: Program, x: fx.Node, own: Sides) -> tuple[fx.Node, Sides, str]:
    """The value before a padding of the spatial axes that feeds the convolution, the sides in all, and their mode.

    This is how `padding_mode` of torch's convolutions is exported. Zeros add to the convolution's own; another mode
    joins only a convolution without padding.
    """
    unchanged = x, own, "zeros"
    if operator_name(x) != "aten.pad" or not program.is_value(x.args[0]):
        return unchanged
    flat: Sequence[int] = x.args[1]  # type: ignore[assignment]  # pairs, last axis first
    mode = str(argument(x, 2, "mode", "constant"))
    found = [(int(flat[i]), int(flat[i + 1])) for i in range(0, len(flat), 2)][::-1]
    found = [(0, 0)] * (len(own) - len(found)) + found
    if len(found) > len(own) or min(min(side) for side in found) < 0:
        return unchanged
    if mode == "constant":
        if argument(x, 3, "value", None):
            return unchanged
        sides = tuple((a + c, b + d) for (a, b), (c, d) in zip(own, found, strict=True))
        return value_of(x), sides, "zeros"
    if mode not in MODES or any(side != (0, 0) for side in own):
        return unchanged
    return value_of(x), tuple(found), mode


def batch_norm(program: Program, node: fx.Node, name: str) -> Reading:
    """`gain x + shift` for each channel, from the running statistics."""
    weight, bias, mean, var = node.args[1:5]
    x = value_of(node)
    m, v = program.constant(mean), program.constant(var)
    if bool(node.args[5]) or m is None or v is None or program.is_value(weight) or program.is_value(bias):
        raise UnreadableError("batch norm in training mode, or without running statistics: samples affect each other")
    gain = torch.rsqrt(v + float(node.args[7]))  # type: ignore[arg-type]
    scale, shift = program.constant(weight), program.constant(bias)
    gain = gain if scale is None else gain * scale
    offset = -m * gain if shift is None else shift - m * gain
    shape = program.shape(x)
    spread = (-1, *([1] * (len(shape) - 1)))
    program.note(name, weight, bias)
    return Affine(DiagonalView(gain.view(spread), shape), offset.view(spread)), (x,)
