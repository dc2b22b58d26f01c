"""Linear maps without a weight matrix: scales, average pooling, and selections of coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from brittle.errors import ModelError
from brittle.operators.lanczos import rayleigh_lower
from brittle.operators.rounding import above, below, gram_sandwich, norm_bound
from brittle.operators.row_sums import column_sums, mixed_norm, row_sum_norm, row_sums
from brittle.operators.view import dense, size
from brittle.results.layer import NormBound


@dataclass(frozen=True, eq=False)
class DiagonalView:
    """`scale * x` on inputs of `in_shape`; `scale` broadcasts to it: per coordinate, or (c, 1, 1) per channel.

    Raises:
        ModelError: the scale does not broadcast to `in_shape`, or holds NaN or infinity.
    """

    scale: Tensor
    in_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        scale = self.scale.detach().to(torch.float64)
        shape = tuple(self.in_shape)
        try:
            scale.expand(shape)
        except RuntimeError:
            raise ModelError(
                f"a scale of shape {tuple(scale.shape)} does not broadcast to inputs of shape {shape}"
            ) from None
        if not bool(torch.isfinite(scale).all()):
            raise ModelError("expected finite scales, got NaN or infinity: check the checkpoint for a diverged layer")
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "in_shape", shape)

    @property
    def kind(self) -> str:
        """ "scale"."""
        return "scale"

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The input's."""
        return self.in_shape

    @property
    def terms(self) -> int:
        """One."""
        return 1

    def apply(self, x: Tensor) -> Tensor:
        """T x."""
        return x * self.scale

    def adjoint(self, y: Tensor) -> Tensor:
        """T^t y."""
        return y * self.scale

    def abs_apply(self, x: Tensor) -> Tensor:
        """|T| x."""
        return x * self.scale.abs()

    def abs_adjoint(self, y: Tensor) -> Tensor:
        """|T|^t y."""
        return y * self.scale.abs()

    def matrix(self) -> Tensor:
        """The diagonal matrix of the scale's own entries (not repeated over the positions they serve)."""
        return torch.diag(self.scale.flatten())

    def spectral_norm(self) -> NormBound:
        """`max |scale|`."""
        largest = float(self.scale.abs().max())
        return NormBound(largest, "exact", largest)

    def linf_norm(self) -> NormBound:
        """`max |scale|`."""
        return self.spectral_norm()


@dataclass(frozen=True, eq=False)
class AvgPoolView:
    """`torch.nn.functional.avg_pool2d` on inputs (c, h, w); pairs are (height, width).

    A window's divisor is a product of a height and a width, so T = I kron P_h kron P_w for every setting.

    Raises:
        ModelError: an input that is no (c, h, w), or sizes outside torch's rules.
    """

    in_shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] = (0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        sizes = (self.kernel, self.stride, self.padding)
        fits = len(self.in_shape) == 3 and all(len(s) == 2 for s in sizes)
        fits = fits and min(*self.kernel, *self.stride) >= 1
        fits = fits and all(
            0 <= 2 * p <= k <= n + 2 * p for p, k, n in zip(self.padding, self.kernel, self.in_shape[1:], strict=True)
        )
        if not fits:
            raise ModelError(
                "average pooling needs an input (c, h, w) and pairs with 0 <= 2 padding <= kernel <= padded size, got "
                f"input {self.in_shape}, kernel {self.kernel}, stride {self.stride}, padding {self.padding}"
            )

    @property
    def kind(self) -> str:
        """ "avg-pool"."""
        return "avg-pool"

    @cached_property
    def factors(self) -> tuple[Tensor, Tensor]:
        """P_h (h', h) and P_w (w', w)."""
        rows, columns = (self._axis(axis) for axis in (0, 1))
        return rows, columns

    def _axis(self, axis: int) -> Tensor:
        n, k, s, p = self.in_shape[axis + 1], self.kernel[axis], self.stride[axis], self.padding[axis]
        room = n + 2 * p - k
        windows = (-(-room // s) if self.ceil_mode else room // s) + 1
        if (windows - 1) * s >= n + p:  # torch: a last window that starts beyond the data is dropped
            windows -= 1
        start = torch.arange(windows) * s - p
        stop = (start + k).clamp(max=n + p)
        i = torch.arange(n)
        inside = (i >= start[:, None]) & (i < stop[:, None])
        count = stop - start if self.count_include_pad else inside.sum(1)
        return inside.to(torch.float64) / count[:, None]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(c, h', w')."""
        return (self.in_shape[0], len(self.factors[0]), len(self.factors[1]))

    @property
    def terms(self) -> int:
        """Window size, with the pixels' overlap for the adjoint."""
        return sum(max(p.shape) for p in self.factors) + 4

    def apply(self, x: Tensor) -> Tensor:
        """T x: (b, c, h, w) -> (b, c, h', w')."""
        rows, columns = self.factors
        return rows @ x @ columns.T

    def adjoint(self, y: Tensor) -> Tensor:
        """T^t y."""
        rows, columns = self.factors
        return rows.T @ y @ columns

    def abs_apply(self, x: Tensor) -> Tensor:
        """|T| x = T x."""
        return self.apply(x)

    def abs_adjoint(self, y: Tensor) -> Tensor:
        """|T|^t y = T^t y."""
        return self.adjoint(y)

    def matrix(self) -> Tensor:
        """One channel's map, P_h kron P_w."""
        return torch.kron(*self.factors)

    def spectral_norm(self) -> NormBound:
        """`||P_h||_2 ||P_w||_2`, exact to rounding."""
        (low_h, high_h), (low_w, high_w) = (gram_sandwich(p) for p in self.factors)
        return norm_bound(below(low_h * low_w, 4), above(high_h * high_w, 4))

    def linf_norm(self) -> NormBound:
        """The largest window's share of real pixels."""
        return row_sum_norm(self)


@dataclass(frozen=True, eq=False)
class SelectView:
    """A non-negative linear map given as a function on batches: slices, permutations, zero padding, means.

    `fn` must be linear with non-negative coefficients, (b, *in_shape) -> (b, *out_shape) in float64, and keep samples
    apart: nobody checks. The adjoint comes from torch's reverse mode.
    """

    fn: Callable[[Tensor], Tensor]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @property
    def kind(self) -> str:
        """ "select"."""
        return "select"

    @property
    def terms(self) -> int:
        """All coordinates: nothing is known about the function."""
        return max(size(self.in_shape), size(self.out_shape))

    def apply(self, x: Tensor) -> Tensor:
        """T x."""
        return self.fn(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """T^t y."""
        x = torch.zeros(len(y), *self.in_shape, dtype=y.dtype)
        pulled: Tensor = torch.func.vjp(self.fn, x)[1](y)[0]
        return pulled

    def abs_apply(self, x: Tensor) -> Tensor:
        """|T| x = T x."""
        return self.apply(x)

    def abs_adjoint(self, y: Tensor) -> Tensor:
        """|T|^t y = T^t y."""
        return self.adjoint(y)

    def matrix(self) -> Tensor:
        """T itself, (outputs, inputs)."""
        return dense(self)

    def spectral_norm(self) -> NormBound:
        """Above by Schur's test; below by the row and column sums as test vectors (equal for selections and means)."""
        upper = mixed_norm(self)
        sums = column_sums(self).unsqueeze(0), self.adjoint(row_sums(self).unsqueeze(0))
        return norm_bound(max(rayleigh_lower(self, v, upper) for v in sums), upper)

    def linf_norm(self) -> NormBound:
        """The largest row sum."""
        return row_sum_norm(self)
