"""Records about Theorem 3.2: how layers align, the encoder's constant L_hat, and each layer's part in it."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Literal

from brittle.results.layer import Status

Kind = Literal["exact-norms", "theorem-3.1"]


@dataclass(frozen=True)
class Alignment:
    """`A_p = max_D ||outer D inner||_p / (||outer||_p ||inner||_p)` of two neighbours, D the activation's slopes.

    `lower <= A_p <= value <= 1` always holds; status "exact" says that both are the truth to rounding. 1 means that the
    outer layer amplifies exactly what the inner one produces, 0 that nothing passes the pair.
    """

    outer: str
    inner: str
    norm: str
    value: float
    status: Status
    lower: float


@dataclass(frozen=True)
class EncoderTerm:
    """One layer's part of log L_hat, natural logarithms; for a change, child minus base.

    With t the rows' l_1 norms (l_inf) or the singular values (l_2) of the structure matrix W, and k a fixed share of
    its length: `compressibility = log((1 - eps_k) / k)`, `spread = -log(1 - beta_mean_k)`, `scale = log ||W||_F`.
    `shape` is what Theorem 3.1 puts between ||t||_1 and ||W||_F (its bracket), for exact norms the true
    `log(||t||_1 / ||W||_F)`. `geometry` is what no weight matrix holds: windows that overlap, poolings, steepest
    slopes. `alignment` is log A of the pair whose outer layer this is, 0 where it is in none.
    """

    layer: str
    norm: str
    compressibility: float
    spread: float
    shape: float
    scale: float
    geometry: float
    alignment: float

    @property
    def structure(self) -> float:
        """`log(B / ||W||_F)`: everything but scale and alignment."""
        return self.compressibility + self.spread + self.shape + self.geometry

    @property
    def total(self) -> float:
        """All of it."""
        return self.structure + self.scale + self.alignment


@dataclass(frozen=True)
class EncoderBound:
    """`L_hat = prod B_l prod_{l in S} A(l)` from the pixels to the head's input, l_p to l_p.

    `kind` says what B_l is: the layer's own norm, or Theorem 3.1's bound on it. The terms' totals add up to
    `log_value`. `pairs` are those of S. `log_value` is None where there is no bound or L_hat is 0; `why` says why, or
    which pairs were taken as fully aligned.
    """

    norm: str
    kind: Kind
    log_value: float | None
    terms: tuple[EncoderTerm, ...]
    pairs: tuple[Alignment, ...]
    why: str

    @property
    def value(self) -> float | None:
        """L_hat, rounded up; None where there is none, or where it is too large for a float."""
        return None if self.log_value is None or self.log_value > 709.0 else exp(self.log_value) * (1 + 1e-12)


@dataclass(frozen=True)
class EncoderChange:
    """Child minus base: the terms' totals add up to `log_change`, the change of log L_hat.

    A layer that only one of the two has stands in `unmatched` and enters with its whole term (of the base: minus it).
    `log_change` is None where one of the bounds is missing.
    """

    norm: str
    kind: Kind
    log_base: float | None
    log_child: float | None
    log_change: float | None
    terms: tuple[EncoderTerm, ...]
    unmatched: tuple[str, ...]
    why: str
