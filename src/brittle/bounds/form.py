"""One matrix of a linear form, with a bound on what rounding did to it.

The true matrix is M, the stored one M + E. For dense matrices `error >= ||E||_F`; for multiples of the identity `error`
bounds the scalar's error. With u = 2^-53 and gamma(n) as in `operators.rounding`:

* product: `fl(T (M + E)) - T M = R + T E`, `|R| <= gamma |T||M + E|` entry by entry, hence
  `||R||_F <= gamma P ||M + E||_F` and `||T E||_F <= ||T||_2 ||E||_F`, where P bounds the l_2 norm of the products'
  magnitudes (|| |T| ||_2, or more where T's entries are themselves sums that cancel);
* multiple, sum: one rounding an entry, at most u times the stored result, and the parts' own errors;
* `||M||_2 <= ||M + E||_2 + ||E||_F`; row i of |E| times lengths is at most `||E||_F ||lengths||_2`.

Numbers so small that they lose digits (below 1e-308) are left out of account.

Legend: n rows, m columns; float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, inf, sqrt

import torch
from torch import Tensor

from brittle.operators.conv import ConvView
from brittle.operators.linear import FactorisedView
from brittle.operators.rounding import above, gamma, gram_norm
from brittle.operators.row_sums import mixed_norm
from brittle.operators.view import LinearView, size


@dataclass(frozen=True)
class Form:
    """One matrix of a linear form: dense (n, m), or `scalar * I` where `dense` is None."""

    dense: Tensor | None
    scalar: float
    error: float

    def written_out(self, n: int) -> tuple[Tensor, float]:
        """The matrix (n, m) and its error in the Frobenius norm."""
        if self.dense is not None:
            return self.dense, self.error
        return self.scalar * torch.eye(n, dtype=torch.float64), above(self.error * sqrt(n), 2)

    def spectral(self) -> float:
        """Upper bound of ||M||_2; infinite where numbers left float64's range."""
        if self.dense is None:
            return above(abs(self.scalar) + self.error, 1)
        if not bool(torch.isfinite(self.dense).all()):
            return inf
        return above(gram_norm(self.dense) + self.error, 1)

    def row_sums(self, lengths: Tensor) -> Tensor:
        """Upper bound of `|M| lengths`, (n,), for lengths (m,) >= 0; infinite where numbers left float64's range."""
        if self.dense is None:
            return above(abs(self.scalar) + self.error, 1) * lengths * (1 + gamma(2))
        sums = self.dense.abs() @ lengths * (1 + 2 * gamma(len(lengths) + 2))
        slack = above(self.error * frobenius(lengths), 2)
        return torch.nan_to_num((sums + slack) * (1 + gamma(2)), nan=inf, posinf=inf)


def identity(scalar: float = 1.0) -> Form:
    """`scalar * I`."""
    return Form(None, scalar, 0.0)


def frobenius(values: Tensor) -> float:
    """Upper bound of the Frobenius norm, rounding included; infinite where a number is not finite."""
    largest = float(values.abs().max()) if values.numel() else 0.0
    if not 0.0 < largest < inf:
        return 0.0 if largest == 0.0 else inf
    return above(largest * float(torch.linalg.vector_norm(values / largest)), values.numel() + 4)


def after(view: LinearView, form: Form, spectral: float) -> Form:
    """`T M`; `spectral >= ||T||_2`."""
    matrix, old = form.written_out(size(view.in_shape))
    out = view.apply(matrix.T.reshape(-1, *view.in_shape)).flatten(1).T.contiguous()
    new = gamma(_terms(view) + 2) * magnitude(view) * frobenius(matrix)
    return Form(out, 0.0, above(new + (spectral * old if old else 0.0), 8))


def times(factor: float, form: Form) -> Form:
    """`factor * M`."""
    # A power of two rounds nothing: ReLU's 1/2 and the signs of sums are exact.
    rounding = 0.0 if abs(frexp(factor)[0]) in (0.0, 0.5) else gamma(1)
    old = abs(factor) * form.error
    if form.dense is None:
        scalar = form.scalar * factor
        return Form(None, scalar, above(old + rounding * abs(scalar), 4))
    dense = form.dense * factor
    return Form(dense, 0.0, above(old + rounding * frobenius(dense) if rounding else old, 4))


def plus(a: Form, b: Form) -> Form:
    """The sum of two forms of one shape."""
    if a.dense is None and b.dense is None:
        scalar = a.scalar + b.scalar
        return Form(None, scalar, above(a.error + b.error + gamma(1) * abs(scalar), 4))
    n = len(a.dense) if a.dense is not None else len(b.dense)  # type: ignore[arg-type]
    (left, first), (right, second) = a.written_out(n), b.written_out(n)
    dense = left + right
    return Form(dense, 0.0, above(first + second + gamma(1) * frobenius(dense), 4))


def magnitude(view: LinearView) -> float:
    """Upper bound of the l_2 norm of the magnitudes that `view.apply` adds up: what its rounding is relative to."""
    match view:
        case FactorisedView():
            return above(magnitude(view.outer) * magnitude(view.inner), 1)
        case ConvView():
            return view.tap_sums()
        case _:
            return mixed_norm(view)


def _terms(view: LinearView) -> int:
    """Products in the longest sum; a pair's own count grows with its cancellation, which `magnitude` has already."""
    return view.outer.terms + view.inner.terms + 2 if isinstance(view, FactorisedView) else view.terms
