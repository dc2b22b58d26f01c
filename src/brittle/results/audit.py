"""The audit of one model, and its comparison with a base: `audit.json` (schema "brittle.audit/1")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from brittle.results.bounds import Gap, Ladder
from brittle.results.directions import Amplification, DirectionSet, Explained, Landscape, Probe
from brittle.results.encoder import EncoderBound, EncoderChange
from brittle.results.layer import LayerStructure, Unmeasured
from brittle.results.perturbations import RadiusCurve, Transfer, Universal, WeightFree
from brittle.results.robustness import Example, Outcomes, Robustness

SCHEMA: Final = "brittle.audit/1"


@dataclass(frozen=True)
class ModelInfo:
    """The audited model: `recipe` rebuilds a zoo architecture, None for a foreign module."""

    name: str
    parameters: int
    recipe: dict[str, Any] | None


@dataclass(frozen=True)
class DataInfo:
    """The samples: `sha256` covers pixels and labels in order; `name` is the DATA string."""

    name: str
    split: str
    samples: int
    sha256: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """One preflight finding."""

    check: str
    verdict: Literal["ok", "warning", "problem"]
    advice: str


@dataclass(frozen=True)
class Settings:
    """What is needed to run the same audit again."""

    command: str
    effort: str
    batch_size: int
    dtype: str
    device: str
    torch: str
    seconds: float


@dataclass(frozen=True)
class Paired:
    """Change of accuracy from base to model on the same samples, in percentage points (positive: the model is worse).

    `interval95` is the paired bootstrap interval over test samples: it covers the sample, not the training seed.
    `noise_drop_points` is the drop under random noise of the same length; `ratio_drop` is the drop of
    robust / clean accuracy (fraction); `per_class` maps class names to drops; `lost` and `gained` count samples;
    `samples_for_1_point` would give an interval of +-1 point; `samples_to_decide` an interval that no longer holds the
    verdict's tolerance, if the drop stayed what it is (None: decided already, or the drop is at the tolerance).
    """

    norm: str
    epsilon: float
    n: int
    base_robust: float
    robust: float
    drop_points: float
    interval95: tuple[float, float]
    clean_drop_points: float
    clean_interval95: tuple[float, float]
    noise_drop_points: float
    ratio_drop: float | None
    lost: int
    gained: int
    samples_for_1_point: int
    per_class: dict[str, float]
    samples_to_decide: int | None = None


@dataclass(frozen=True)
class LayerChange:
    """Change of one layer's log norm from base to model: `log_scale + log_structure_p` is the change of log ||T||_p."""

    layer: str
    log_scale: float
    log_structure_linf: float
    log_structure_l2: float


@dataclass(frozen=True)
class Comparison:
    """Base against model. `unmatched` lists layers that have no counterpart, so no attribution."""

    base: ModelInfo
    paired: tuple[Paired, ...]
    attribution: tuple[LayerChange, ...]
    unmatched: tuple[str, ...]
    caution: str
    encoder: tuple[EncoderChange, ...] = ()
    transfer: tuple[Transfer, ...] = ()
    weight_free: tuple[WeightFree, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """`brittle` True, False, or None for undecided; `why` gives one sentence for each norm and radius."""

    brittle: bool | None
    why: tuple[str, ...]
    max_drop_points: float


@dataclass(frozen=True)
class Audit:
    """Everything measured about one model on one data set; `comparison` and `verdict` only with a base.

    `directions` maps "representation" and "margin" to the leading directions of that map; `masking` holds the signs of
    masked gradients that show only after the attacks. What an effort leaves out is empty.
    """

    schema: Literal["brittle.audit/1"]
    brittle: str
    seed: int
    model: ModelInfo
    data: DataInfo
    preflight: tuple[Check, ...]
    layers: tuple[LayerStructure, ...]
    unmeasured: tuple[Unmeasured, ...]
    bounds: dict[str, Ladder]
    gaps: tuple[Gap, ...]
    robustness: tuple[Robustness, ...]
    universal: tuple[Universal, ...]
    directions: dict[str, DirectionSet]
    outcomes: Outcomes
    examples: tuple[Example, ...]
    settings: Settings
    comparison: Comparison | None
    verdict: Verdict | None
    partial: bool = False
    encoder: tuple[EncoderBound, ...] = ()
    explained: tuple[Explained, ...] = ()
    amplification: tuple[Amplification, ...] = ()
    landscapes: tuple[Landscape, ...] = ()
    probes: tuple[Probe, ...] = ()
    radii: tuple[RadiusCurve, ...] = ()
    weight_free: tuple[WeightFree, ...] = ()
    masking: tuple[Check, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary, as in `audit.json`."""
        from brittle.results.serialise import to_dict

        return to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Audit:
        """The audit that `to_dict` turned into `values`; DataError if it is none."""
        from brittle.results.serialise import from_dict

        return from_dict(cls, values)

    def _repr_html_(self) -> str:
        from brittle.results.notebook import audit_html

        return audit_html(self)
