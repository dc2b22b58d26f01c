"""Records of a compression: `compression.json` (schema "brittle.compression/1"). Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from brittle.results.audit import DataInfo, ModelInfo, Settings, Verdict

COMPRESSION_SCHEMA: Final = "brittle.compression/1"


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    `keep` is the share of the parent's parameters; `epsilon` are the radii in `norm` that are measured, of which robust
    choices and an adversarial recovery defend against `defended` (None: clean accuracy alone counts). `finetune` is in
    gradient evaluations for each training image; `recover` is None without any.
    """

    method: str
    keep: float
    robust: bool
    norm: str
    epsilon: tuple[float, ...]
    defended: float | None
    finetune: float
    recover: str | None
    penalties: dict[str, float]
    flatten: float | None
    orthonormal: float | None
    sweep: tuple[float, ...]


@dataclass(frozen=True)
class FittedOn:
    """The samples that choices and recovery saw: `split` is where they come from, never the scored ones.

    `evidence` of the `train` samples were looked at to choose what stays; `validation` samples chose the epoch.
    """

    split: str
    train: int
    validation: int
    evidence: int
    sha256: str


@dataclass(frozen=True)
class Size:
    """What a network costs.

    `parameters` counts every stored number, `nonzero` those that are not zero, `bits` are those of a weight (8 where
    weights were rounded to that many levels); `multiply_adds` is for one sample (None where it could not be counted);
    `file_bytes` of the model as a safetensors file (None where it cannot be written as
    one); `latency_ms` is the median of a forward pass of `latency_batch` samples on one thread of this machine, an
    estimate, `latency_interval` its quartiles.
    """

    parameters: int
    nonzero: int
    bits: int
    multiply_adds: int | None
    file_bytes: int | None = None
    latency_ms: float | None = None
    latency_interval: tuple[float, float] | None = None
    latency_batch: int | None = None


@dataclass(frozen=True)
class Robust:
    """Accuracy left under one attack: an upper bound on the robust accuracy, with its Wilson interval."""

    norm: str
    epsilon: float
    attack: str
    attacked: float
    interval95: tuple[float, float]


@dataclass(frozen=True)
class Scored:
    """Accuracy on `n` samples of one split, clean (with its Wilson interval) and attacked."""

    split: str
    n: int
    clean: float
    clean_interval95: tuple[float, float]
    robust: tuple[Robust, ...]


@dataclass(frozen=True)
class LayerChange:
    """One layer before and after, or the two small ones in its place.

    `before` and `after` are shapes of weights (of the product, where there is a `rank` or `modes`); `rank` is None for
    a dense layer; `density` is the share of weights that are not zero. `parameters_after` is 0 for a layer that is
    gone. `modes`: a nested layer's mixtures of channels and of positions, 0 where all stay; None for other layers.
    """

    name: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    rank: int | None
    density: float
    parameters_before: int
    parameters_after: int
    modes: tuple[int, int] | None = None


@dataclass(frozen=True)
class Prediction:
    """What the plan expected before any recovery, against what was measured, on the same samples.

    The samples come from the training split. `robust` numbers are accuracies under the plan's own light attack at the
    defended radius; None without `--robust`. `gap` bounds how far the plan's predicted loss may be from the best one
    that its candidates allow; None where nothing bounds it.
    """

    n: int
    predicted_clean: float
    measured_clean: float
    predicted_robust: float | None
    measured_robust: float | None
    gap: float | None


@dataclass(frozen=True)
class RecoveryRecord:
    """The fine-tuning: its budget and what was spent, in gradient evaluations for each training image.

    `best_epoch` is the one whose weights were kept, 0 where the start was best; `norm` and `epsilon` are of the ball
    that was trained against, None for plain training.
    """

    kind: str
    asked: float
    spent: float
    epochs: int
    best_epoch: int
    learning_rate: float
    norm: str | None
    epsilon: float | None
    penalties: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class FrontPoint:
    """A network on the picture of size, clean and robust accuracy, scored on the test split after its recovery.

    `keep` is the share of parameters asked for (1 for the parent), `parameters` what came out. `on_front`: no other
    point is as small and at least as accurate, clean and at every radius. `file` holds it, where it was written.
    """

    name: str
    method: str
    keep: float
    parameters: int
    scores: Scored
    on_front: bool
    file: str | None = None


@dataclass(frozen=True)
class Drop:
    """Percentage points lost against the parent on the same samples, paired 95 % interval; positive is worse.

    `norm` is "clean" and `epsilon` 0 for the drop without an attack.
    """

    norm: str
    epsilon: float
    points: float
    interval95: tuple[float, float]


@dataclass(frozen=True)
class Gate:
    """`--max-drop`: not `held` where the lower end of a drop's interval, clean or robust, is above it.

    `why` has one sentence for each such drop.
    """

    max_drop: float
    held: bool
    why: tuple[str, ...]


@dataclass(frozen=True)
class CompressionResult:
    """A compression that ended.

    `before_recovery` and `after` are scores of the child, `parent_scores` of the parent, all on the same test samples
    with the same attacks and seed; `verdict` is the audit's, of the child against the parent. `front` holds parent and
    child, and with `--sweep` other sizes and rival methods. `partial`: the time limit cut something short, `notes` say
    what; scores that were not taken are None.
    """

    schema: Literal["brittle.compression/1"]
    brittle: str
    seed: int
    parent: ModelInfo
    child: ModelInfo
    data: DataInfo
    fitted: FittedOn
    asked: Asked
    parent_size: Size
    child_size: Size
    layers: tuple[LayerChange, ...]
    prediction: Prediction | None
    recovery: RecoveryRecord | None
    parent_scores: Scored | None
    before_recovery: Scored | None
    after: Scored | None
    drops: tuple[Drop, ...]
    verdict: Verdict | None
    front: tuple[FrontPoint, ...]
    gate: Gate | None
    notes: tuple[str, ...]
    settings: Settings
    partial: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary, as in `compression.json`."""
        from brittle.results.serialise import to_dict

        return to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CompressionResult:
        """The result that `to_dict` turned into `values`; DataError if it is none."""
        from brittle.results.serialise import from_dict

        return from_dict(cls, values)

    def _repr_html_(self) -> str:
        from brittle.results.notebook import compression_html

        return compression_html(self)
