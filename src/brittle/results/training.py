"""Records of a training run: `training.json` (schema "brittle.training/1"). Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from brittle.results.layer import NormBound

TRAINING_SCHEMA: Final = "brittle.training/1"


@dataclass(frozen=True)
class TrackedLayer:
    """A layer at one moment: as `LayerStructure`, less what curves over epochs do not show.

    `neuron_epsilon` and `spectral_epsilon` are the residuals of the row l_1 norms and of the singular values (q = 1)
    at `k = ceil(k_fraction * length)`; `norms` are of the map on its real input where `on_input`, else of the matrix.
    """

    name: str
    shape: tuple[int, ...]
    frobenius: float
    neuron_epsilon: float
    spectral_epsilon: float
    effective_rank: float
    stable_rank: float
    norms: dict[str, NormBound]
    on_input: bool


@dataclass(frozen=True)
class TrackedAccuracy:
    """Accuracy left under one attack on the tracked samples, with its Wilson interval: an upper bound on the truth."""

    norm: str
    epsilon: float
    attack: str
    accuracy: float
    interval95: tuple[float, float]


@dataclass(frozen=True)
class Tracked:
    """What a tracker saw at one moment, on `n` samples of the validation split.

    `products` maps norms to the product bound on the Lipschitz constant of the logits (an upper bound), None where no
    global constant exists; `why` then says why (empty otherwise).
    """

    n: int
    clean: float
    attacked: tuple[TrackedAccuracy, ...]
    k_fraction: float
    layers: tuple[TrackedLayer, ...]
    products: dict[str, float | None]
    why: str


@dataclass(frozen=True)
class EpochRow:
    """One finished epoch.

    `epoch` counts from 1; `steps` and `gradients` are totals so far, the latter in gradient evaluations of one sample
    (an attack in the objective counts its own); `learning_rate` is the last step's. `loss` is the objective's mean over
    the samples of the epoch (while the weights moved, without penalties); `penalties` are the penalties' values at the
    end of the epoch, before their strengths; `validation_loss` is the plain cross-entropy.
    """

    epoch: int
    steps: int
    gradients: float
    learning_rate: float
    loss: float
    penalties: dict[str, float]
    validation_loss: float
    validation_accuracy: float
    tracked: Tracked | None = None


@dataclass(frozen=True)
class PenaltySetting:
    """A penalty, its strength, and whether it acts as a proximal step."""

    name: str
    strength: float
    proximal: bool


@dataclass(frozen=True)
class NoiseSetting:
    """Alpha-stable noise on the gradients."""

    alpha: float
    scale: float


@dataclass(frozen=True)
class TrainingSettings:
    """What is needed to run the same training again, beside the model and the samples.

    `cost` is in gradient evaluations for one sample in one step; `layers` are the names of the layers that penalties
    and `hold_scale` act on, empty where nothing does. `steps` is the number of steps where it was given in place of
    whole epochs, `holds` what else was held after steps, `chosen_by` the judge of the best epoch (empty: validation
    accuracy).
    """

    objective: str
    cost: float
    epochs: int
    batch_size: int
    optimiser: str
    learning_rate: float
    weight_decay: float
    momentum: float
    schedule: str
    label_noise: float
    gradient_noise: NoiseSetting | None
    patience: int | None
    clip: float | None
    penalties: tuple[PenaltySetting, ...]
    layers: tuple[str, ...]
    hold_scale: bool
    seed: int
    device: str
    precision: str
    torch: str
    steps: int | None = None
    holds: tuple[str, ...] = ()
    chosen_by: str = ""


@dataclass(frozen=True)
class TrainingData:
    """The samples of a split: `sha256` covers pixels and labels in order."""

    samples: int
    sha256: str


@dataclass(frozen=True)
class TrainingHistory:
    """A training run that ended.

    `best_epoch` is the epoch whose weights the model has now (the highest validation accuracy, ties to the lower loss);
    `stopped_early`: patience ran out; `seconds` is wall time, all sittings of a resumed run together. `recipe` rebuilds
    a zoo architecture, None for a foreign module. `start` is what the tracker saw before the first step.
    """

    schema: Literal["brittle.training/1"]
    brittle: str
    parameters: int
    recipe: dict[str, Any] | None
    train: TrainingData
    validation: TrainingData
    settings: TrainingSettings
    rows: tuple[EpochRow, ...]
    best_epoch: int
    stopped_early: bool
    seconds: float
    start: Tracked | None = None
