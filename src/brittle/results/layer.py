"""Records about one layer of a network. Legend: h neurons (filters), d fan-in of the structure matrix W (h x d)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["exact", "upper_bound", "lower_bound", "estimate"]


@dataclass(frozen=True)
class NormBound:
    """An operator norm: `lower <= truth <= value` always holds; status "exact": both are the truth to rounding."""

    value: float
    status: Status
    lower: float


@dataclass(frozen=True)
class Neuron:
    """Compressibility of the row l_1 norms nu (theory section 2): `epsilon = ||nu - nu_k||_q / ||nu||_q`.

    `beta = 1 - nu_(k) / nu_(1)`, `beta_mean = 1 - mean(nu_(1..k)) / nu_(1)`; `pq_index` is the PQ index of nu with
    p = 1, q = 2; `keep_at_5pct` is the smallest share k / h whose residual is at most 5 %.
    """

    q: int
    k: int
    epsilon: float
    beta: float
    beta_mean: float
    pq_index: float
    keep_at_5pct: float


@dataclass(frozen=True)
class Spectral:
    """Compressibility of the singular values sigma: as `Neuron`, with the ranks.

    `effective_rank = exp(entropy(sigma / sum sigma))`, `stable_rank = ||W||_F^2 / sigma_1^2`; `rank_at_5pct` is the
    smallest k whose residual is at most 5 %. The last `below_floor` values lie under 1e-5 sigma_1 and are not resolved:
    they are known to be that small, nothing more.
    """

    q: int
    k: int
    epsilon: float
    beta: float
    beta_mean: float
    pq_index: float
    effective_rank: float
    stable_rank: float
    rank_at_5pct: int
    below_floor: int = 0


@dataclass(frozen=True)
class Theorem31:
    """Both sides of Theorem 3.1 for the structure matrix: `lower <= ||W|| <= upper`, with the k (and k_r) chosen."""

    upper: float
    lower: float
    k: int
    k_r: int | None


@dataclass(frozen=True)
class PerNorm:
    """One number for each norm."""

    linf: float
    l2: float


@dataclass(frozen=True)
class HeadStructure:
    """One attention head's part of a matrix: rows of queries, keys or values, columns of the projection after.

    `spectral_norm` is the part's largest singular value, exact to rounding; ranks as in `Spectral`.
    """

    frobenius: float
    spectral_norm: float
    stable_rank: float
    effective_rank: float


@dataclass(frozen=True)
class LayerStructure:
    """One row of the layer table.

    `frobenius` is of the structure matrix (filters x fan-in, batch norm folded); `norms` are operator norms of the
    map on its real, padded input where the input size is known (`on_input`), else of the structure matrix.
    `structure[p] = ||T||_p / ||W||_F`, `scale = ||W||_F`: their logarithms add up to the log norm.
    `row_norms` and `singular_values` are sorted, largest first, thinned to at most 256 points for drawing. `heads` are
    the parts of an attention matrix that belong to one head each, in order; empty for every other matrix.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    frobenius: float
    neuron: Neuron
    spectral: Spectral
    norms: dict[str, NormBound]
    structure: PerNorm
    scale: float
    theorem31: dict[str, Theorem31]
    on_input: bool
    row_norms: tuple[float, ...]
    singular_values: tuple[float, ...]
    heads: tuple[HeadStructure, ...] = ()


@dataclass(frozen=True)
class Unmeasured:
    """A weight that was not measured, and why: nothing is skipped in silence."""

    name: str
    shape: tuple[int, ...]
    why: str
