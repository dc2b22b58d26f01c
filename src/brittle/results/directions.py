"""Records about sensitive directions: where they point, how much they carry, what attacks make of them.

Legend: v_i directions (unit vectors in pixel space), lambda_i their energies, J a Jacobian in the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Direction:
    """One leading eigenvector v of `A = E_x[J(x)^T J(x)]`.

    `energy = v^T A v` and `share = energy / trace(A)` on the fitting samples; `residual = ||A v - energy v|| / energy`;
    `scored_share` is the share on samples it was not fitted on; `png` draws images (a data URI), None for other inputs.
    """

    energy: float
    share: float
    residual: float
    scored_share: float
    png: str | None = None


@dataclass(frozen=True)
class DirectionSet:
    """The leading directions of one map, largest energy first.

    `trace_status` says whether the traces behind the shares are exact or a stochastic estimate, whose relative
    standard error is `trace_error` (0 where exact). `fitted` and `scored` count samples; the two sets are disjoint.
    """

    map: str
    directions: tuple[Direction, ...]
    trace: float
    trace_status: str
    trace_error: float
    fitted: int
    scored: int
    products: int


@dataclass(frozen=True)
class Confined:
    """An attack confined to m directions: the leading ones, and m random ones.

    `damage` and `random_damage` are shares of the full attack's damage (accuracy lost by the confined attack over
    accuracy lost by the full one), each with a bootstrap interval over samples; None where the full attack does none.
    """

    m: int
    accuracy: float
    damage: float | None
    interval95: tuple[float, float] | None
    random_accuracy: float
    random_damage: float | None
    random_interval95: tuple[float, float] | None


@dataclass(frozen=True)
class Explained:
    """What the directions of one map explain of attacks in one threat, on samples they were not fitted on.

    `overlap[i]` is the mean of `|v_i^T a| / ||a||_2` over the attacks' perturbations a, `overlap_random` the same for a
    random direction. `curve` confines attacks; `m_for_90` is the smallest m in it whose share of the damage reaches
    90 %, None where none does. `box` is False where the pixel box was lifted for the full and the confined attack.
    """

    map: str
    norm: str
    epsilon: float
    n: int
    clean: float
    attacked: float
    box: bool
    overlap: tuple[float, ...]
    overlap_random: float
    curve: tuple[Confined, ...]
    m_for_90: int | None


@dataclass(frozen=True)
class Amplification:
    """How a layer's output moves: means over samples of `||z_adv - z||_2 / ||z||_2`, and for noise of equal length.

    The intervals are bootstrap intervals of the means over samples.
    """

    layer: str
    norm: str
    epsilon: float
    n: int
    attacked: float
    attacked_interval95: tuple[float, float]
    noise: float
    noise_interval95: tuple[float, float]


@dataclass(frozen=True)
class Landscape:
    """Clean and attacked representations in the plane of their first two principal components.

    `clean` and `attacked` are (n, 2) coordinates, `labels` the samples' classes; `regions` holds the predicted class on
    a grid of the plane, row by row from low to high, over `extent` (left, right, bottom, top); `variance` is the share
    of variance each component carries. The prediction at a grid point is the head's, applied to the point of the plane.
    """

    norm: str
    epsilon: float
    clean: tuple[tuple[float, float], ...]
    attacked: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    regions: tuple[tuple[int, ...], ...]
    extent: tuple[float, float, float, float]
    variance: tuple[float, float]


@dataclass(frozen=True)
class Probe:
    """The causal probe: one change of the weights at a fixed Frobenius norm, and what it did.

    `change` is "as it is", "flattened" or "concentrated", `of` says what: "singular values" or "row norms" of the
    hidden layers; the head is always fitted again; `stable_rank` is the mean over the changed layers. Accuracies are
    fractions of n, with Wilson intervals.
    """

    change: str
    strength: float
    stable_rank: float
    n: int
    clean: float
    clean_interval95: tuple[float, float]
    robust: dict[str, float]
    robust_interval95: dict[str, tuple[float, float]]
    of: str = "singular values"
