"""The record of a run that ended."""

from __future__ import annotations

import torch

import brittle
from brittle.models.recipe import recipe_of
from brittle.results.training import (
    TRAINING_SCHEMA,
    NoiseSetting,
    PenaltySetting,
    TrainingData,
    TrainingHistory,
    TrainingSettings,
)
from brittle.training.engine_run import Run


def history_of(run: Run, train: TrainingData, validation: TrainingData, seconds: float) -> TrainingHistory:
    """What was done to the model, on which samples, and what each epoch came to; `seconds` of wall time."""
    recipe = recipe_of(run.model)
    return TrainingHistory(
        schema=TRAINING_SCHEMA,
        brittle=brittle.__version__,
        parameters=sum(p.numel() for p in run.model.parameters()),
        recipe=None if recipe is None else recipe.to_dict(),
        train=train,
        validation=validation,
        settings=_settings(run),
        rows=tuple(run.rows),
        best_epoch=run.at.best_epoch,
        stopped_early=run.at.stopped,
        seconds=seconds,
        start=run.start,
    )


def _settings(run: Run) -> TrainingSettings:
    plan, how = run.plan, run.plan.dynamics
    noise = how.gradient_noise
    return TrainingSettings(
        objective=plan.objective.name,
        cost=float(plan.objective.cost),
        epochs=how.epochs,
        batch_size=how.batch_size,
        optimiser=how.optimiser,
        learning_rate=how.learning_rate,
        weight_decay=how.weight_decay,
        momentum=how.momentum,
        schedule=how.schedule,
        label_noise=how.label_noise,
        gradient_noise=None if noise is None else NoiseSetting(noise.alpha, noise.scale),
        patience=how.patience,
        clip=how.clip,
        penalties=tuple(PenaltySetting(p.name, p.strength, p.proximal) for p in plan.penalties),
        layers=tuple(matrix.name for matrix in run.added.matrices),
        hold_scale=plan.hold_scale,
        seed=run.seed,
        device=run.device.type,
        precision=run.place.precision if run.place.precision != "own" else str(run.like.dtype).removeprefix("torch."),
        torch=torch.__version__,
        steps=how.steps,
        holds=tuple(hold.name for hold in plan.holds),
        chosen_by="" if plan.judge is None else repr(plan.judge),
    )
