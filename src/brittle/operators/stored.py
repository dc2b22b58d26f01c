"""A weight matrix as the model stores it, written out in float64 only while it is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.operators.heads import Heads
from brittle.operators.linear import DenseView
from brittle.operators.rounding import check_finite_matrix
from brittle.results.layer import NormBound


@dataclass(frozen=True, eq=False)
class StoredView:
    """T = W for a matrix (h, d) of any floating dtype and device, often a view of the model's own memory.

    A large model is measured layer by layer without a second copy of it: each call makes its float64 matrix anew.

    Raises:
        ModelError: no matrix (h, d) with entries, or NaN or infinity in it.
    """

    stored: Tensor
    kind: str = "linear"
    heads: Heads | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored", self.stored.detach())
        check_finite_matrix(self.stored)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(d,)."""
        return (self.stored.shape[1],)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(h,)."""
        return (self.stored.shape[0],)

    @property
    def terms(self) -> int:
        """The longer side of W."""
        return max(self.stored.shape)

    def matrix(self) -> Tensor:
        """W (h, d) in float64 on the CPU."""
        return self.stored.to("cpu", torch.float64)

    def dense(self) -> DenseView:
        """The same map with its matrix written out."""
        return DenseView(self.matrix(), heads=self.heads)

    def apply(self, x: Tensor) -> Tensor:
        """T x: (b, d) -> (b, h)."""
        return self.dense().apply(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """T^t y: (b, h) -> (b, d)."""
        return self.dense().adjoint(y)

    def abs_apply(self, x: Tensor) -> Tensor:
        """|T| x."""
        return self.dense().abs_apply(x)

    def abs_adjoint(self, y: Tensor) -> Tensor:
        """|T|^t y."""
        return self.dense().abs_adjoint(y)

    def spectral_norm(self) -> NormBound:
        """||W||_2, exact to rounding."""
        return self.dense().spectral_norm()

    def linf_norm(self) -> NormBound:
        """||W||_inf, exact to rounding."""
        return self.dense().linf_norm()
