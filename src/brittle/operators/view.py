"""The protocol of a linear layer seen as an operator on its real input.

Legend: b batch, h neurons (filters), d fan-in; T the operator on a flattened input, W (h x d) its structure matrix.
All views hold float64 tensors and take float64 inputs.
"""

from __future__ import annotations

from math import prod
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from brittle.results.layer import NormBound


@runtime_checkable
class LinearView(Protocol):
    """A linear map T from tensors of `in_shape` to tensors of `out_shape` (both without the batch)."""

    @property
    def kind(self) -> str:
        """A word for people: "linear", "conv2d", "low-rank", ..."""

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input."""

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output."""

    def apply(self, x: Tensor) -> Tensor:
        """T x: (b, *in_shape) -> (b, *out_shape)."""

    def adjoint(self, y: Tensor) -> Tensor:
        """T^t y: (b, *out_shape) -> (b, *in_shape)."""

    def abs_apply(self, x: Tensor) -> Tensor:
        """|T| x with the entrywise absolute value of T (row sums of |T| are `abs_apply(ones)`).

        Where T's entries are themselves computed (low-rank products), their rounding is added: never below |T| x.
        """

    def abs_adjoint(self, y: Tensor) -> Tensor:
        """|T|^t y."""

    def matrix(self) -> Tensor:
        """The structure matrix W (h, d): rows are neurons or filters. Not T itself for a convolution."""

    def spectral_norm(self) -> NormBound:
        """Sound sandwich of ||T||_2."""

    def linf_norm(self) -> NormBound:
        """Sound sandwich of ||T||_inf, the largest row sum of |T|."""

    @property
    def terms(self) -> int:
        """The longest sum of products in one output coordinate, forward or adjoint: it sizes rounding margins."""


def size(shape: tuple[int, ...]) -> int:
    """Number of coordinates."""
    return prod(shape)


def dense(view: LinearView, chunk: int = 4096) -> Tensor:
    """The matrix of T, (outputs, inputs) in float64, column block by column block."""
    n = size(view.in_shape)
    columns = []
    for start in range(0, n, chunk):
        stop = min(start + chunk, n)
        block = torch.zeros(stop - start, n, dtype=torch.float64)
        block[torch.arange(stop - start), torch.arange(start, stop)] = 1.0
        columns.append(view.apply(block.view(-1, *view.in_shape)).flatten(1))
    return torch.cat(columns).T.contiguous()
