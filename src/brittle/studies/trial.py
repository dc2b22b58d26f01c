"""A trial as data: one network, made in one way, and what is measured on it. Everything its numbers depend on.

Trials come from Python or from a study file; unknown keys and impossible values are refused by pydantic.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A value: no unknown keys, no changes, no numbers from strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Dense(Frozen):
    """Nothing is done to make the network compressible: the reference of every comparison."""

    kind: Literal["dense"] = "dense"


class PenaltySource(Frozen):
    """A penalty of `PENALTIES` on the hidden layers, from the first step on."""

    kind: Literal["penalty"] = "penalty"
    name: str
    strength: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RankSource(Frozen):
    """Architecture: hidden layers are products of two factors of this rank, trained from scratch."""

    kind: Literal["rank"] = "rank"
    rank: Annotated[int, Field(ge=1)]


class WidthSource(Frozen):
    """Architecture: every hidden width is multiplied by this factor, trained from scratch."""

    kind: Literal["width"] = "width"
    factor: Annotated[float, Field(gt=0, le=1)]


class DynamicsSource(Frozen):
    """Learning dynamics: one setting of the run takes another value (learning_rate, batch_size, weight_decay, ...)."""

    kind: Literal["dynamics"] = "dynamics"
    setting: Literal[
        "learning_rate", "batch_size", "weight_decay", "label_noise", "gradient_noise", "dropout", "optimiser"
    ]
    value: float | int | str


class PostHocSource(Frozen):
    """The dense network of the same seed, compressed afterwards by a method of `METHODS` and fine-tuned."""

    kind: Literal["post-hoc"] = "post-hoc"
    method: str
    keep: Annotated[float, Field(gt=0, le=1)]
    finetune: Annotated[float, Field(ge=0)] = 0.0


class InterventionSource(Frozen):
    """A source above, and one of the paper's interventions against what it does."""

    kind: Literal["intervention"] = "intervention"
    name: Literal["beta_control", "alignment", "flatten", "eps-pruning"]
    strength: Annotated[float, Field(gt=0)]
    of: Annotated[PenaltySource | RankSource | PostHocSource, Field(discriminator="kind")]


class SpectrumSource(Frozen):
    """A planted effect: the dense network's singular values concentrated at a held Frobenius norm, head refitted."""

    kind: Literal["spectrum"] = "spectrum"
    strength: Annotated[float, Field(ge=0, le=1)]
    of: Literal["spectrum", "rows"] = "spectrum"


class ScaleSource(Frozen):
    """A control: every hidden layer held at this multiple of the dense network's Frobenius norm."""

    kind: Literal["scale"] = "scale"
    factor: Annotated[float, Field(gt=0)]


Source = Annotated[
    Dense
    | PenaltySource
    | RankSource
    | WidthSource
    | DynamicsSource
    | PostHocSource
    | InterventionSource
    | SpectrumSource
    | ScaleSource,
    Field(discriminator="kind"),
]


class Training(Frozen):
    """The run that every trial of a study shares, in the training engine's terms."""

    epochs: Annotated[int, Field(ge=1)] = 40
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    optimiser: str = "adamw"
    schedule: str = "cosine"
    adversarial: Literal["none", "pgd", "trades"] = "none"
    epsilon: Annotated[float, Field(ge=0)] = 0.0
    norm: Literal["linf", "l2"] = "linf"


class Threat(Frozen):
    """A ball in pixel units."""

    norm: Literal["linf", "l2"]
    epsilon: Annotated[float, Field(gt=0)]

    @property
    def key(self) -> str:
        """ "linf@0.05", as in every record."""
        return f"{self.norm}@{self.epsilon:g}"


class Trial(Frozen):
    """One network and its measurements.

    Attributes:
        data: a DATA string, or `synthetic:NAME`.
        train: training samples (None: all), drawn by `data_seed` so that all trials share them.
        test: test samples that results are scored on; no choice inside a trial looks at them.
        model: a `zoo:` string without input and classes.
        source: how it became compressible.
        hold_scale: hidden layers held at the Frobenius norms that the dense network of this seed was given.
        training: the run.
        transfer: a DATA string of another task: encoder frozen, linear head fitted, measured there.
        threats: radii of the robust accuracies.
        measures: names in `MEASURES`.
        seed: of weights, order and everything random.
        data_seed: of the samples.
    """

    data: str = "digits"
    train: Annotated[int, Field(ge=10)] | None = None
    test: Annotated[int, Field(ge=10)] = 500
    model: str = "zoo:mlp?width=100&depth=2"
    source: Source = Dense()
    hold_scale: bool = False
    training: Training = Training()
    transfer: str | None = None
    threats: tuple[Threat, ...] = (Threat(norm="linf", epsilon=0.05), Threat(norm="l2", epsilon=0.5))
    measures: tuple[str, ...] = ("clean", "robust", "structure")
    seed: Annotated[int, Field(ge=0)] = 0
    data_seed: Annotated[int, Field(ge=0)] = 0
