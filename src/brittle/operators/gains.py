"""Per-channel gains that join a weight layer: batch norm in eval mode after it, a scale of its inputs before it.

Legend: h neurons or filters, d fan-in.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from brittle.errors import ModelError
from brittle.operators.conv import ConvView
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.pointwise import DiagonalView
from brittle.operators.view import LinearView


def scaled(view: LinearView, out_scale: Tensor) -> LinearView:
    """`diag(out_scale) T`: one gain per output channel (or neuron, (h,)), as batch norm in eval mode applies after it.

    Raises:
        ModelError: the view has no output channels to scale, or their number differs.
    """
    match view:
        case DenseView() | ConvView():
            gain = _gain(out_scale, len(view.weight), "output")
            return replace(view, weight=view.weight * gain.view(-1, *([1] * (view.weight.dim() - 1))))
        case FactorisedView():
            outer = scaled(view.outer, out_scale)
            assert isinstance(outer, DenseView | ConvView)
            return replace(view, outer=outer)
        case DiagonalView():
            gain = _gain(out_scale, view.in_shape[0], "output")
            return replace(view, scale=view.scale * gain.view(-1, *([1] * (len(view.in_shape) - 1))))
    raise ModelError(f"a gain can join a linear layer, convolution, low-rank pair or scale, got {view.kind}")


def prescaled(view: LinearView, in_scale: Tensor) -> LinearView:
    """`T diag(in_scale)`: one gain per input channel (or feature, (d,)), as a scale before the layer applies it.

    Raises:
        ModelError: the view has no input channels to scale, or their number differs.
    """
    match view:
        case DenseView():
            return replace(view, weight=view.weight * _gain(in_scale, view.weight.shape[1], "input"))
        case ConvView():
            gain = _gain(in_scale, view.in_shape[0], "input").view(view.groups, 1, -1)
            grouped = view.weight.view(view.groups, -1, *view.weight.shape[1:])
            spread = gain.view(*gain.shape, *([1] * (view.weight.dim() - 2)))
            return replace(view, weight=(grouped * spread).view_as(view.weight))
        case FactorisedView():
            inner = prescaled(view.inner, in_scale)
            assert isinstance(inner, DenseView | ConvView)
            return replace(view, inner=inner)
        case DiagonalView():
            return scaled(view, in_scale)
    raise ModelError(f"a gain can join a linear layer, convolution, low-rank pair or scale, got {view.kind}")


def _gain(scale: Tensor, channels: int, side: str) -> Tensor:
    if tuple(scale.shape) != (channels,):
        raise ModelError(f"expected one gain for each of {channels} {side} channels, got shape {tuple(scale.shape)}")
    return scale.detach().to(torch.float64)
