"""Fully connected layers, and low-rank pairs of layers. Legend: h neurons, d fan-in, r rank; weights are (h, d)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from brittle.errors import ModelError
from brittle.operators.conv import ConvView
from brittle.operators.heads import Heads
from brittle.operators.rounding import above, below, check_finite_matrix, gamma, gram_sandwich, norm_bound
from brittle.operators.row_sums import column_sums, row_sum_norm, row_sums
from brittle.results.layer import NormBound


@dataclass(frozen=True, eq=False)
class DenseView:
    """`x W^t` on the last dimension: T = W, or I kron W where `in_shape` is (..., d); the default is (d,).

    `heads` says how W is made of attention heads, where it is.

    Raises:
        ModelError: the weight is no (h, d) matrix, does not fit `in_shape`, or holds NaN or infinity.
    """

    weight: Tensor
    in_shape: tuple[int, ...] = ()
    heads: Heads | None = None

    def __post_init__(self) -> None:
        w = self.weight.detach().to(torch.float64)
        check_finite_matrix(w)
        shape = tuple(self.in_shape) or (w.shape[1],)
        if shape[-1] != w.shape[1]:
            raise ModelError(f"a linear layer of fan-in {w.shape[1]} cannot act on inputs of shape {shape}")
        object.__setattr__(self, "weight", w)
        object.__setattr__(self, "in_shape", shape)

    @property
    def kind(self) -> str:
        """ "linear"."""
        return "linear"

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(..., h)."""
        return (*self.in_shape[:-1], len(self.weight))

    @property
    def terms(self) -> int:
        """The longer side of W."""
        return max(self.weight.shape)

    def apply(self, x: Tensor) -> Tensor:
        """T x: (b, ..., d) -> (b, ..., h)."""
        return F.linear(x, self.weight)

    def adjoint(self, y: Tensor) -> Tensor:
        """T^t y: (b, ..., h) -> (b, ..., d)."""
        return y @ self.weight

    def abs_apply(self, x: Tensor) -> Tensor:
        """|T| x."""
        return F.linear(x, self.weight.abs())

    def abs_adjoint(self, y: Tensor) -> Tensor:
        """|T|^t y."""
        return y @ self.weight.abs()

    def matrix(self) -> Tensor:
        """W (h, d)."""
        return self.weight

    def spectral_norm(self) -> NormBound:
        """||W||_2, exact to rounding."""
        return norm_bound(*gram_sandwich(self.weight))

    def linf_norm(self) -> NormBound:
        """||W||_inf, exact to rounding."""
        return row_sum_norm(self)


@dataclass(frozen=True, eq=False)
class FactorisedView:
    """A low-rank layer: `outer` after `inner`, read as the one map they are together.

    Two dense views, or two convolutions of which one meets each pixel alone (`can_pair`). Norms, magnitudes and the
    structure matrix are those of the product, not products of the parts' numbers.

    Raises:
        ModelError: a pair of another kind, or shapes that do not fit.
    """

    outer: DenseView | ConvView
    inner: DenseView | ConvView

    def __post_init__(self) -> None:
        if self.inner.out_shape != self.outer.in_shape:
            raise ModelError(
                f"a pair needs equal shapes between its layers: {self.inner.out_shape}, {self.outer.in_shape}"
            )
        if type(self.inner) is not type(self.outer):
            raise ModelError(
                f"expected two linear layers or two convolutions, got {self.inner.kind} and {self.outer.kind}"
            )
        if not can_pair(self.outer, self.inner):
            raise ModelError(
                "expected a convolution with 1 x 1 windows and no padding, second, or first with steps of 1: keep the "
                "pair as two layers"
            )

    @property
    def kind(self) -> str:
        """ "low-rank"."""
        return "low-rank"

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The inner layer's."""
        return self.inner.in_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The outer layer's."""
        return self.outer.out_shape

    @cached_property
    def product(self) -> DenseView | ConvView:
        """The single layer that the pair is, its weight rounded to float64."""
        return self._like_product(*(_full(part) for part in (self.outer, self.inner)))

    @cached_property
    def _majorant(self) -> DenseView | ConvView:
        """The product of the factors' magnitudes, which bounds the product's own rounding entry by entry."""
        return self._like_product(*(_full(part).abs() for part in (self.outer, self.inner)))

    @property
    def _margin(self) -> float:
        """`|product - truth| <= margin * majorant`."""
        return 2 * gamma(self.rank + 2)

    @property
    def rank(self) -> int:
        """Channels or features between the two layers."""
        return self.inner.weight.shape[0]

    def _like_product(self, outer: Tensor, inner: Tensor) -> DenseView | ConvView:
        if isinstance(self.inner, DenseView) or isinstance(self.outer, DenseView):
            return DenseView(outer @ inner, self.in_shape)
        if _is_pointwise(self.outer):
            weight = (outer.flatten(1) @ inner.flatten(1)).view(len(outer), *inner.shape[1:])
            steps = tuple(a * b for a, b in zip(self.inner.stride, self.outer.stride, strict=True))
            return replace(self.inner, weight=weight, stride=steps, groups=1)
        weight = torch.tensordot(outer, inner.flatten(1), ([1], [0])).movedim(-1, 1)
        return replace(self.outer, weight=weight, in_shape=self.inner.in_shape, groups=1)

    @cached_property
    def terms(self) -> int:
        """Terms of both layers, times how much the factors' magnitudes exceed the product's (their sums cancel)."""
        most = 1.0
        for sums in (row_sums, column_sums):
            ours, parts = sums(self), sums(self._majorant)
            most = max(most, float((parts / ours.clamp_min(torch.finfo(torch.float64).tiny)).max()))
        return ceil((self.outer.terms + self.inner.terms + 2) * min(most, 2.0**50))

    def apply(self, x: Tensor) -> Tensor:
        """T x: (b, *in_shape) -> (b, *out_shape), through the r channels."""
        return self.outer.apply(self.inner.apply(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """T^t y: (b, *out_shape) -> (b, *in_shape)."""
        return self.inner.adjoint(self.outer.adjoint(y))

    def abs_apply(self, x: Tensor) -> Tensor:
        """|T| x, with the product's rounding added."""
        return self.product.abs_apply(x) + self._margin * self._majorant.abs_apply(x)

    def abs_adjoint(self, y: Tensor) -> Tensor:
        """|T|^t y, with the product's rounding added."""
        return self.product.abs_adjoint(y) + self._margin * self._majorant.abs_adjoint(y)

    def matrix(self) -> Tensor:
        """The product's structure matrix (h, d)."""
        return self.product.matrix()

    def spectral_norm(self) -> NormBound:
        """The product's, widened by the product's own rounding: Schur's test on the majorant."""
        bound = self.product.spectral_norm()
        rows, columns = float(row_sums(self._majorant).max()), float(column_sums(self._majorant).max())
        slack = above(self._margin * rows**0.5 * columns**0.5, 2 * self._majorant.terms)
        return norm_bound(below(max(0.0, bound.lower - slack)), above(bound.value + slack))

    def linf_norm(self) -> NormBound:
        """The product's, widened by the product's own rounding."""
        bound = self.product.linf_norm()
        slack = above(self._margin * float(row_sums(self._majorant).max()), self._majorant.terms)
        return norm_bound(below(max(0.0, bound.lower - slack)), above(bound.value + slack))


def can_pair(outer: DenseView | ConvView, inner: DenseView | ConvView) -> bool:
    """Whether `outer` after `inner` is one map of their kind: dense layers, or convolutions with one of 1 x 1 windows.

    That one has no padding, and steps of 1 where it comes first.
    """
    if isinstance(outer, ConvView) and isinstance(inner, ConvView):
        return _is_pointwise(outer) or (_is_pointwise(inner) and set(inner.stride) == {1})
    return isinstance(outer, DenseView) and isinstance(inner, DenseView)


def _is_pointwise(view: ConvView) -> bool:
    return set(view.weight.shape[2:]) == {1} and not any(side for sides in view.padding for side in sides)


def _full(part: DenseView | ConvView) -> Tensor:
    """The weight with groups written out as a block diagonal, (c_o, c_i, ...)."""
    if isinstance(part, DenseView) or part.groups == 1:
        return part.weight
    outputs, inputs = len(part.weight) // part.groups, part.weight.shape[1]
    full = part.weight.new_zeros(len(part.weight), part.in_shape[0], *part.weight.shape[2:])
    for g in range(part.groups):
        full[g * outputs : (g + 1) * outputs, g * inputs : (g + 1) * inputs] = part.weight[
            g * outputs : (g + 1) * outputs
        ]
    return full
