"""One row of the layer table: what a layer's matrix looks like, and how large its operator norms are."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.compressibility.decomposition import theorem31
from brittle.compressibility.heads import head_structures
from brittle.compressibility.rank import Spectrum, effective_rank, spectrum, stable_rank
from brittle.compressibility.residual import beta, beta_mean, count, residual, smallest_k
from brittle.compressibility.sparsity import pq_index
from brittle.errors import UsageError
from brittle.operators.linear import DenseView
from brittle.operators.norms import OPERATOR_NORMS
from brittle.operators.rounding import above, below, norm_bound
from brittle.operators.stored import StoredView
from brittle.operators.view import LinearView
from brittle.results.layer import LayerStructure, Neuron, NormBound, PerNorm, Spectral

CURVE_POINTS = 256
_TOLERANCE = 0.05


def layer_structure(
    name: str, view: LinearView, *, k_fraction: float = 0.1, on_input: bool = True, parameters: int
) -> LayerStructure:
    """Compressibility, ranks, norms and Theorem 3.1 of one layer.

    Residuals and spreads are taken at `k = ceil(k_fraction * length)`, q = 1, of the row l_1 norms (neurons) and of the
    singular values (spectral) of the structure matrix `view.matrix()` (h, d). With `on_input` the norms are those of T
    on its real input (l_inf -> l_inf, l_2 -> l_2), else of the structure matrix.

    Raises:
        UsageError: `k_fraction` outside (0, 1].
    """
    if not 0 < k_fraction <= 1:
        raise UsageError(f"k must be a fraction in (0, 1] of a layer's neurons, got {k_fraction!r}")
    w = view.matrix()
    values = spectrum(w)
    nu = torch.linalg.vector_norm(w, 1, dim=1)
    heads = view.heads if isinstance(view, DenseView | StoredView) else None
    if on_input and not isinstance(view, DenseView | StoredView):
        norms = {p: norm(view) for p, norm in OPERATOR_NORMS.items()}
    else:  # T is W (or W at each of many places): what was computed already has its norms
        norms = {"linf": _largest_row(nu, max(w.shape)), "l2": norm_bound(values.lower, values.upper)}
    frobenius = values.frobenius
    ratio = {p: bound.value / frobenius if frobenius else 0.0 for p, bound in norms.items()}
    return LayerStructure(
        name=name,
        kind=view.kind,
        shape=tuple(w.shape),
        parameters=parameters,
        frobenius=frobenius,
        neuron=_neuron(nu, k_fraction),
        spectral=_spectral(values, k_fraction),
        norms=norms,
        structure=PerNorm(ratio["linf"], ratio["l2"]),
        scale=frobenius,
        theorem31=theorem31(w, values.sigma, nu),
        on_input=on_input,
        row_norms=thinned(nu),
        singular_values=thinned(values.sigma),
        heads=() if heads is None else head_structures(w, heads),
    )


def thinned(values: Tensor, points: int = CURVE_POINTS) -> tuple[float, ...]:
    """The values from the largest down, at most `points` of them evenly by rank, first and last included."""
    ordered = values.sort(descending=True).values
    if len(ordered) > points:
        ordered = ordered[torch.linspace(0, len(ordered) - 1, points, dtype=torch.float64).round().long()]
    return tuple(ordered.tolist())


def _largest_row(nu: Tensor, terms: int) -> NormBound:
    """||W||_inf from the computed row l_1 norms, `terms` roundings each."""
    largest = float(nu.max())
    return norm_bound(below(largest, terms), above(largest, terms))


def _neuron(nu: Tensor, k_fraction: float) -> Neuron:
    k = count(k_fraction, len(nu))
    keep = smallest_k(nu, _TOLERANCE) / len(nu)
    return Neuron(1, k, residual(nu, k), beta(nu, k), beta_mean(nu, k), pq_index(nu), keep)


def _spectral(values: Spectrum, k_fraction: float) -> Spectral:
    sigma = values.sigma
    k = count(k_fraction, len(sigma))
    return Spectral(
        q=1,
        k=k,
        epsilon=residual(sigma, k),
        beta=beta(sigma, k),
        beta_mean=beta_mean(sigma, k),
        pq_index=pq_index(sigma),
        effective_rank=effective_rank(sigma),
        stable_rank=stable_rank(sigma),
        rank_at_5pct=smallest_k(sigma, _TOLERANCE),
        below_floor=values.below_floor,
    )
