"""A convolution as a linear map on its real, padded input.

Legend: b batch, g groups, kernel (c_o, c_i / g, k_h, k_w). One-dimensional convolutions run as two-dimensional ones of
height 1. Padding other than with zeros is a gather of pixels, so T is the valid convolution after that gather.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from brittle.errors import ModelError
from brittle.operators.conv_axis import Axis
from brittle.operators.conv_norm import conv_spectral_norm
from brittle.operators.rounding import above, below, gamma, norm_bound
from brittle.operators.row_sums import row_sums
from brittle.results.layer import NormBound

MODES = ("zeros", "reflect", "replicate", "circular")


@dataclass(frozen=True, eq=False)
class ConvView:
    """`torch.nn.Conv1d` or `Conv2d` without bias on inputs of `in_shape` (c_i, [h,] w).

    `weight` (c_o, c_i / g, [k_h,] k_w); `stride` and `dilation` one number per axis; `padding` a pair (before, after)
    per axis; a single entry serves every axis. `padding_mode` as in torch.

    Raises:
        ModelError: shapes that do not fit together, a window larger than its padded input, NaN or infinite weights.
    """

    weight: Tensor
    in_shape: tuple[int, ...]
    stride: tuple[int, ...] = (1,)
    padding: tuple[tuple[int, int], ...] = ((0, 0),)
    dilation: tuple[int, ...] = (1,)
    groups: int = 1
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", self.weight.detach().to(torch.float64))
        object.__setattr__(self, "in_shape", tuple(self.in_shape))
        ndim = self.weight.dim() - 2
        for name in ("stride", "padding", "dilation"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values * ndim if len(values) == 1 else values)
        _check(self)

    @classmethod
    def of(cls, module: nn.Conv1d | nn.Conv2d, in_shape: tuple[int, ...]) -> ConvView:
        """The view of a torch module on inputs of `in_shape`."""
        flat = module._reversed_padding_repeated_twice  # the pairs of F.pad: last axis first
        sides = tuple((flat[i], flat[i + 1]) for i in range(len(flat) - 2, -1, -2))
        return cls(module.weight, in_shape, module.stride, sides, module.dilation, module.groups, module.padding_mode)

    @property
    def kind(self) -> str:
        """ "conv1d" or "conv2d"."""
        return f"conv{self.weight.dim() - 2}d"

    @cached_property
    def kernel(self) -> Tensor:
        """The weight with two spatial axes."""
        return self.weight if self.weight.dim() == 4 else self.weight.unsqueeze(2)

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Geometry of height and width."""
        known = [
            Axis(n, k, s, before, after, d, self.padding_mode)
            for n, k, s, (before, after), d in zip(
                self.in_shape[1:], self.weight.shape[2:], self.stride, self.padding, self.dilation, strict=True
            )
        ]
        return (known[0], known[1]) if len(known) == 2 else (Axis(1, 1, 1, 0, 0, 1, "zeros"), known[0])

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(c_o, [h',] w')."""
        windows = tuple(axis.windows for axis in self.axes)
        return (len(self.weight), *windows[-(self.weight.dim() - 2) :])

    @property
    def terms(self) -> int:
        """Products per output, or per input of the adjoint, whichever are more; a merged tap counts as its parts."""
        taps = prod(self.kernel.shape[2:])
        return max(self.weight.shape[1], len(self.weight) // self.groups) * taps * self._multiplicity

    @cached_property
    def _multiplicity(self) -> int:
        pixels = [axis.pixels() for axis in self.axes]
        return prod(int(torch.bincount(p[p >= 0]).max()) for p in pixels)

    def apply(self, x: Tensor) -> Tensor:
        """T x: (b, *in_shape) -> (b, *out_shape)."""
        return self._convolve(self._pad(x), self.kernel).reshape(-1, *self.out_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        """T^t y: (b, *out_shape) -> (b, *in_shape)."""
        return self._pull(y.reshape(-1, *self._out_map), self.kernel)

    def abs_apply(self, x: Tensor) -> Tensor:
        """|T| x; taps that meet one pixel add up before the absolute value is taken."""
        padded = self._pad(x)
        out = padded.new_zeros(len(x), *self._out_map)
        for kernel, rows, columns in self._magnitudes:
            part = self._convolve(padded, kernel)
            out[:, :, rows[:, None], columns] = part[:, :, rows[:, None], columns]
        return out.reshape(-1, *self.out_shape)

    def abs_adjoint(self, y: Tensor) -> Tensor:
        """|T|^t y."""
        y = y.reshape(-1, *self._out_map)
        total = y.new_zeros(len(y), *self.in_shape)
        for kernel, rows, columns in self._magnitudes:
            part = torch.zeros_like(y)
            part[:, :, rows[:, None], columns] = y[:, :, rows[:, None], columns]
            total = total + self._pull(part, kernel)
        return total

    def matrix(self) -> Tensor:
        """Filters x fan-in, (c_o, c_i / g * k_h * k_w): the structure matrix, not T."""
        return self.weight.flatten(1)

    def spectral_norm(self) -> NormBound:
        """Sound sandwich of ||T||_2 (see `conv_norm`)."""
        return conv_spectral_norm(self)

    def linf_norm(self) -> NormBound:
        """||T||_inf: the largest sum of absolute taps over windows; windows at the border may be larger or smaller."""
        largest = float(row_sums(self).max())
        slack = self.merging * float(self.kernel.abs().sum((1, 2, 3)).max())
        return norm_bound(below(largest, self.terms) - 2 * slack, above(largest, self.terms))

    @property
    def merging(self) -> float:
        """Rounding of T's entries, relative to the sums of absolute taps: 0 unless taps merge on a pixel."""
        return 2 * gamma(prod(self.kernel.shape[2:])) if self._folded else 0.0

    @property
    def _folded(self) -> bool:
        return any(len(first.unique()) < len(first) for axis in (0, 1) for first, _ in self._merges(axis))

    def tap_sums(self) -> float:
        """`sqrt(rows * columns) >= || |C| P ||_2` for T = C P, C the valid convolution and P the padding's gather.

        Rows and columns are the largest sums of absolute taps over one output and over one input pixel.
        """
        magnitude = self.kernel.abs()
        columns = magnitude.view(self.groups, -1, *magnitude.shape[1:]).sum((1, 3, 4)).max() * self._multiplicity
        return above(float(magnitude.sum((1, 2, 3)).max()) ** 0.5 * float(columns) ** 0.5, 2 * self.terms)

    @property
    def _out_map(self) -> tuple[int, int, int]:
        return (len(self.weight), self.axes[0].windows, self.axes[1].windows)

    @cached_property
    def _magnitudes(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Kernels of |T| with the window rows and columns each serves; one of all windows unless pixels repeat.

        Taps that meet the same pixel are summed onto the first of them, then made absolute, plus the sum's rounding.
        """
        groups = []
        taps = prod(self.kernel.shape[2:])
        for down, rows in self._merges(0):
            for across, columns in self._merges(1):
                total = _merged(_merged(self.kernel, 2, down), 3, across).abs()
                if len(down.unique()) * len(across.unique()) < taps:
                    total = total + gamma(taps) * _merged(_merged(self.kernel.abs(), 2, down), 3, across)
                groups.append((total, rows, columns))
        return groups

    def _merges(self, axis: int) -> list[tuple[Tensor, Tensor]]:
        if self.padding_mode == "zeros":
            return [(torch.arange(self.axes[axis].k), torch.arange(self.axes[axis].windows))]
        return self.axes[axis].merges()

    def _pad(self, x: Tensor) -> Tensor:
        """The padded input (b, c_i, h + pads, w + pads)."""
        rows, columns = self.axes
        x = x.reshape(-1, self.in_shape[0], rows.n, columns.n)
        if self.padding_mode == "zeros":
            return F.pad(x, (columns.left, columns.right, rows.left, rows.right))
        return x.index_select(2, rows.pixels()).index_select(3, columns.pixels())

    def _convolve(self, padded: Tensor, kernel: Tensor) -> Tensor:
        rows, columns = self.axes
        steps = (rows.stride, columns.stride)
        return F.conv2d(padded, kernel, None, steps, 0, (rows.dilation, columns.dilation), self.groups)

    def _pull(self, y: Tensor, kernel: Tensor) -> Tensor:
        """The adjoint of pad-then-convolve."""
        rows, columns = self.axes
        shape = (len(y), self.in_shape[0], rows.n + rows.left + rows.right, columns.n + columns.left + columns.right)
        steps, spread = (rows.stride, columns.stride), (rows.dilation, columns.dilation)
        grad = conv2d_input(shape, kernel, y, steps, 0, spread, self.groups)
        if self.padding_mode == "zeros":
            grad = grad[:, :, rows.left : rows.left + rows.n, columns.left : columns.left + columns.n]
        else:
            grad = grad.new_zeros(*shape[:2], rows.n, shape[3]).index_add(2, rows.pixels(), grad)
            grad = grad.new_zeros(*shape[:2], rows.n, columns.n).index_add(3, columns.pixels(), grad)
        return grad.reshape(-1, *self.in_shape)


def _merged(kernel: Tensor, dim: int, first: Tensor) -> Tensor:
    """Add each tap along `dim` onto tap `first[tap]`."""
    return torch.zeros_like(kernel).index_add(dim, first, kernel)


def _check(view: ConvView) -> None:
    w, axes = view.weight, view.weight.dim() - 2
    given = f"weight {tuple(w.shape)}, input {view.in_shape}, groups {view.groups}"
    if axes not in (1, 2) or w.numel() == 0 or len(view.in_shape) != axes + 1:
        raise ModelError(
            f"a convolution needs a weight (c_o, c_i / groups, [k_h,] k_w) and an input (c_i, [h,] w): {given}"
        )
    if view.groups < 1 or view.in_shape[0] != w.shape[1] * view.groups or len(w) % view.groups:
        raise ModelError(f"a convolution's channels must be its groups times the weight's second size: {given}")
    if not bool(torch.isfinite(w).all()):
        raise ModelError("expected finite weights, got NaN or infinity: check the checkpoint for a diverged layer")
    if view.padding_mode not in MODES:
        raise ModelError(f"unknown padding mode {view.padding_mode!r}: expected one of {', '.join(MODES)}")
    sizes = (len(view.stride), len(view.padding), len(view.dilation))
    if sizes != (axes,) * 3 or min(view.stride) < 1 or min(view.dilation) < 1 or min(map(min, view.padding)) < 0:
        raise ModelError(
            "a convolution needs one stride >= 1, dilation >= 1 and padding pair >= 0 per axis, got stride "
            f"{view.stride}, dilation {view.dilation}, padding {view.padding}"
        )
    limit = {"reflect": -1, "circular": 0}.get(view.padding_mode)
    for axis in view.axes:
        if axis.n < 1 or axis.windows < 1:
            raise ModelError(
                f"a window of {axis.extent} does not fit the padded input of {axis.n + axis.left + axis.right}"
            )
        if limit is not None and max(axis.left, axis.right) > axis.n + limit:
            raise ModelError(
                f"{view.padding_mode} padding of {max(axis.left, axis.right)} is too wide for {axis.n} pixels"
            )
