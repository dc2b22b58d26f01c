"""Which nets can be trained at once, and why others cannot."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.models.messages import first_line
from brittle.training.adversarial import TRADES, FastTraining, PGDTraining, UniversalTraining
from brittle.training.cores import LowRank
from brittle.training.ensemble.optimisers import STACKED
from brittle.training.ensemble.stack import Stack
from brittle.training.matrices import chosen_matrices
from brittle.training.objective import CrossEntropy
from brittle.training.plan import Plan

# Objectives whose loss takes the samples of several members, member after member, and a generator for each of them.
FOLDING: tuple[type, ...] = (CrossEntropy, PGDTraining, FastTraining, TRADES, UniversalTraining)

# Samples of the trial, and how far its logits may be from the members' own, as a share of the largest one.
_TRIED, _CLOSE = 4, {torch.float32: 1e-3, torch.float64: 1e-8}


def check_counts(models: Sequence[nn.Module], plans: Sequence[Plan], seeds: Sequence[int]) -> None:
    """Refuse lists that do not belong together.

    Raises:
        UsageError: no member, another number of plans or seeds, or one module twice.
    """
    if not models or not len(models) == len(plans) == len(seeds):
        raise UsageError(
            "an ensemble needs one model, one plan and one seed for each member, got "
            f"{len(models)}, {len(plans)} and {len(seeds)}"
        )
    if len({id(model) for model in models}) < len(models):
        raise UsageError("a model is in the ensemble twice: give each member a copy of its own")


def alike(models: Sequence[nn.Module], plans: Sequence[Plan]) -> list[list[int]]:
    """The members in groups whose architectures and plans go together, each in the order given."""
    groups: list[list[int]] = []
    for m in range(len(models)):
        for group in groups:
            if not _difference(models[group[0]], plans[group[0]], models[m], plans[m]):
                group.append(m)
                break
        else:
            groups.append([m])
    return groups


def why_not(models: Sequence[nn.Module], plans: Sequence[Plan], train: Split) -> str:
    """Why these members cannot be trained at once, empty where they can.

    The stack is tried on a few samples, in train mode: its logits and buffers must be the members' own. Models and
    global random state are left as they were.

    Raises:
        UsageError: layers that cannot be chosen.
    """
    for model, plan in zip(models[1:], plans[1:], strict=True):
        different = _difference(models[0], plans[0], model, plan)
        if different:
            return f"the members differ in {different}"
    return _unknown(models[0], plans[0]) or _tried(models, train)


def _difference(model: nn.Module, plan: Plan, other: nn.Module, others: Plan) -> str:
    """What two members do not share but must; empty: nothing."""
    a, b = plan.dynamics, others.dynamics
    same = {
        "architecture": _kind(model) == _kind(other),
        "epochs": a.epochs == b.epochs,
        "batch size": a.batch_size == b.batch_size,
        "optimiser": a.optimiser == b.optimiser,
        "objective": plan.objective == others.objective,
        "penalties (their strengths may)": _penalties(plan) == _penalties(others),
        "layers": plan.layers == others.layers,
        "hold_scale": plan.hold_scale == others.hold_scale,
    }
    return next((what for what, holds in same.items() if not holds), "")


def _kind(model: nn.Module) -> tuple[object, ...]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    facts = [(name, tuple(t.shape), t.dtype, t.device, t.requires_grad) for name, t in tensors]
    return (repr(model), [type(module) for module in model.modules()], facts)


def _penalties(plan: Plan) -> list[tuple[str, bool]]:
    return [(penalty.name, penalty.proximal) for penalty in plan.penalties]


def _unknown(model: nn.Module, plan: Plan) -> str:
    """What is not known how to do at once; empty: nothing."""
    if plan.dynamics.optimiser not in STACKED:
        return f"optimiser {plan.dynamics.optimiser} is none of {', '.join(STACKED)}"
    if not isinstance(plan.objective, FOLDING):
        return f"objective {plan.objective.name} takes the samples of one member only"
    for what, asked in (("holds", plan.holds), ("a judge", plan.judge), ("a number of steps", plan.dynamics.steps)):
        if asked:
            return f"the plan has {what}, which is for one net at a time"
    if len({p.dtype for p in model.parameters() if p.requires_grad}) != 1:
        return "the parameters have several number formats"
    if any(penalty.proximal for penalty in plan.penalties):
        for matrix in chosen_matrices(model, plan.layers):
            if isinstance(matrix.module, LowRank):
                return f"{matrix.name} is a low-rank layer, and there is a proximal step"
    return ""


def _tried(models: Sequence[nn.Module], train: Split) -> str:
    like = next(p for p in models[0].parameters() if p.requires_grad)
    x = train.x[:_TRIED].to(like)
    with torch.random.fork_rng(devices=[like.device] if like.device.type == "cuda" else []):
        try:
            stack = Stack(models).train()
            logits = stack(x.repeat(len(models), *[1] * (x.dim() - 1)))
            gradients = torch.autograd.grad(logits.sum(), stack.trainable, allow_unused=True)
            if any(g is None for g in gradients):
                return "a parameter has no part in the logits"
            for m, model in enumerate(models):
                own = copy.deepcopy(model).train()
                with torch.no_grad():
                    pairs = [(own(x), logits[m * len(x) : (m + 1) * len(x)])]
                pairs += [(a, b[m]) for a, b in zip(own.buffers(), stack.net.buffers(), strict=True)]
                if not all(_close(a, b.detach()) for a, b in pairs):
                    return f"member {m} is not itself in a stack"
        except Exception as error:  # whatever the model's code raises where its weights are stacked
            return f"the architecture cannot be stacked ({first_line(error)})"
    return ""


def _close(own: Tensor, stacked: Tensor) -> bool:
    if not own.numel():
        return True
    far = (own.double() - stacked.double()).abs().max()
    return bool(far <= _CLOSE.get(own.dtype, 1e-2) * own.double().abs().max())
