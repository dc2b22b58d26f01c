"""Networks made by training alone: dense, penalised, of low rank, narrow, of other dynamics or scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from brittle.models.recipe import build
from brittle.studies.sources.architecture import dense_recipe, recipe_of
from brittle.studies.sources.plans import plan_of
from brittle.studies.sources.scale import scales, set_scales
from brittle.studies.tasks import Learning
from brittle.studies.trial import ScaleSource, Source, Trial
from brittle.training.engine import train
from brittle.training.ensemble.many import train_many


def start_of(trial: Trial, source: Source, learning: Learning) -> nn.Module:
    """The network before its first step, weights drawn by `trial.seed`.

    With the scale held (or set by a `ScaleSource`) its hidden layers have the norms that the dense network of the same
    seed starts with, times the source's factor.

    Raises:
        UsageError, ModelError: an architecture that cannot be built.
    """
    net = build(recipe_of(trial, source, learning), seed=trial.seed)
    if _held(trial, source):
        factor = source.factor if isinstance(source, ScaleSource) else 1.0
        set_scales(net, scales(build(dense_recipe(trial, learning), seed=trial.seed)), factor=factor)
    return net


def train_one(trial: Trial, source: Source, learning: Learning) -> nn.Module:
    """The trained network, in eval mode, with the weights of its best epoch.

    Raises:
        BrittleError: as `start_of`, `plan_of` and `engine.train`.
    """
    plan = plan_of(trial, source, hold_scale=_held(trial, source))
    net = start_of(trial, source, learning)
    return train(net, learning.train, learning.validation, plan, seed=trial.seed).model


def from_scratch(trial: Trial, learning: Learning, memory: Path | None) -> nn.Module:
    """The network of a trial whose source needs nothing but training."""
    return train_one(trial, trial.source, learning)


def train_together(trials: Sequence[Trial], learning: Learning) -> list[nn.Module]:
    """The networks of such trials on one task, in their order, trained at once where that is faster.

    Each is what `from_scratch` makes of it, up to rounding of its sums.
    """
    plans = [plan_of(trial, trial.source, hold_scale=_held(trial, trial.source)) for trial in trials]
    nets = [start_of(trial, trial.source, learning) for trial in trials]
    done = train_many(nets, learning.train, learning.validation, plans, [trial.seed for trial in trials])
    return [one.model for one in done]


def _held(trial: Trial, source: Source) -> bool:
    return trial.hold_scale or isinstance(source, ScaleSource)
