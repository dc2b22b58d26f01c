"""Records about perturbations beyond one radius and one model: minimal radii, universal ones, transfer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RadiusCurve:
    """Robust accuracy against the radius, from the smallest perturbation found for each sample (an upper bound).

    `radii[i]` is the smallest radius, pixel units, at which sample i was broken: 0 where it is misclassified as it is,
    None where nothing broke it. `quantiles` maps "0.1", "0.25", "0.5", "0.75", "0.9" to that quantile of the correctly
    classified samples' radii (None where too few were broken).
    """

    norm: str
    attack: str
    n: int
    radii: tuple[float | None, ...]
    quantiles: dict[str, float | None]


@dataclass(frozen=True)
class Universal:
    """One perturbation for all inputs, scored on inputs it was not fitted on (`held_out`).

    `fooling_rate` is the share of `n` samples whose prediction it changes, with its Wilson interval; `control` the same
    for random perturbations of equal length (random signs for l_inf), the mean of several draws; `accuracy` is what is
    left of the clean accuracy `clean`. `fitted` counts the samples it was fitted on; `target` is the class it pushes
    to, None for untargeted; `png` draws it.
    """

    norm: str
    epsilon: float
    fooling_rate: float
    held_out: bool
    method: str = ""
    n: int = 0
    interval95: tuple[float, float] = (0.0, 1.0)
    control: float = 0.0
    clean: float = 0.0
    accuracy: float = 0.0
    fitted: int = 0
    target: str | None = None
    png: str | None = None


@dataclass(frozen=True)
class Transfer:
    """Perturbations made on `source` and scored on `target`.

    `kind` is "examples" (one perturbation for each sample), "universal" or "directions"; `accuracy` is the target's,
    fraction of n with its Wilson interval; `damage_share` is the accuracy lost over what the target's own perturbations
    of that kind lose (1 on the diagonal), None where those lose nothing.
    """

    kind: str
    norm: str
    epsilon: float
    source: str
    target: str
    n: int
    clean: float
    accuracy: float
    interval95: tuple[float, float]
    damage_share: float | None


@dataclass(frozen=True)
class WeightFree:
    """What an adversary without the weights reaches, as a share of the white-box damage of the same kind.

    `knowledge` is "surrogate" (another net's weights) or "queries" (the target's logits alone); `queries` counts
    forward passes per fitting sample; `damage_share` has a bootstrap interval over samples.
    """

    knowledge: str
    kind: str
    norm: str
    epsilon: float
    source: str
    n: int
    queries: int
    accuracy: float
    white_box: float
    damage_share: float | None
    interval95: tuple[float, float] | None
