"""Many nets, however they differ: in stacks where that is faster, one by one where it is not or cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.evaluation.progress import Progress
from brittle.models.recipe import Recipe
from brittle.training.engine import Trained
from brittle.training.engine import train as train_one
from brittle.training.ensemble.engine import members_of, put, train_stack
from brittle.training.ensemble.rule import at_once_by_rule
from brittle.training.ensemble.together import alike, check_counts, why_not
from brittle.training.fits import check_fits
from brittle.training.plan import Plan
from brittle.training.protocols import Watch


def train_many(
    members: Recipe | Sequence[nn.Module],
    train: Split,
    validation: Split,
    plans: Sequence[Plan],
    seeds: Sequence[int],
    *,
    at_once: int | None = None,
    device: str | None = None,
    track: Watch | None = None,
    progress: Progress | None = None,
) -> tuple[Trained, ...]:
    """Train nets by their plans, as many at once as pays: each becomes what `engine.train` would make of it.

    Members that go together (see `train_ensemble`) are trained in stacks of equal size; a member without company, or
    one that cannot be stacked, alone.

    Args:
        members: the models, trained in place; or a recipe, to be built with each of the seeds.
        train: the samples to learn from.
        validation: the samples to choose each member's epoch by.
        plans: one for each member.
        seeds: one for each member.
        at_once: the most nets of a stack, 1 for one by one; None for `at_once_by_rule`.
        device: such as "cpu" or "cuda"; None for where the models are.
        track: what to watch beside the losses, member by member.
        progress: told after each epoch: members' epochs done, out of all.

    Returns:
        The members in their order.

    Raises:
        UsageError: lists of different lengths, `at_once` below 1, or a loss that is no number.
        ModelError: as `engine.train`.
        DataError: as `engine.train`.
    """
    if at_once is not None and at_once < 1:
        raise UsageError(f"at_once is the most nets of a stack, at least 1, got {at_once}: leave it out for a rule")
    models = members_of(members, seeds)
    check_counts(models, plans, seeds)
    put(models, device)
    for model in models:
        check_fits(model, train, validation)
    total, done = sum(plan.dynamics.epochs for plan in plans), 0
    trained: dict[int, Trained] = {}
    for part in _parts(models, plans, train, at_once):
        told = None if progress is None else _from(progress, done, len(part), total)
        nets, own, drawn = [models[m] for m in part], [plans[m] for m in part], [seeds[m] for m in part]
        if len(part) > 1:
            results = train_stack(nets, train, validation, own, drawn, track=track, progress=told)
        else:
            results = (train_one(nets[0], train, validation, own[0], seed=drawn[0], track=track, progress=told),)
        trained.update(zip(part, results, strict=True))
        done += sum(plan.dynamics.epochs for plan in own)
    return tuple(trained[m] for m in range(len(models)))


def _parts(models: Sequence[nn.Module], plans: Sequence[Plan], train: Split, at_once: int | None) -> list[list[int]]:
    """Who is trained together: every member once."""
    parts = []
    for group in alike(models, plans):
        first = group[0]
        most = at_once or at_once_by_rule(models[first], train.x[:1], plans[first].dynamics.batch_size)
        stacks = -(-len(group) // most)
        for chosen in torch.arange(len(group)).tensor_split(stacks):
            part = [group[i] for i in chosen.tolist()]
            alone = len(part) > 1 and why_not([models[m] for m in part], [plans[m] for m in part], train)
            parts += [[m] for m in part] if alone else [part]
    return parts


def _from(progress: Progress, done: int, members: int, total: int) -> Progress:
    """Counts epochs of all members."""

    def told(stage: str, epoch: int, epochs: int) -> None:
        progress(stage, done + members * epoch if epochs else epoch, total if epochs else epochs)

    return told
