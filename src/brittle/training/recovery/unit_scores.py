"""Which units matter, learnt by training: scores that decide which units a net may use, its weights held still.

Legend: u units of a coupling, k of them kept; b samples of a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling
from brittle.data.split import Split
from brittle.errors import ModelError, UsageError
from brittle.evaluation.progress import Progress
from brittle.training.engine_run import LostRunError
from brittle.training.noise import stream
from brittle.training.protocols import Objective
from brittle.training.recovery.budget import spending
from brittle.training.recovery.gates import gated, read_by
from brittle.training.schedules import cosine


def learn_unit_scores(
    model: nn.Module,
    couplings: Sequence[Coupling],
    keep: Mapping[str, int],
    train: Split,
    objective: Objective,
    budget: float,
    *,
    seed: int,
    start: Mapping[str, Tensor] | None = None,
    learning_rate: float = 0.05,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Scores of the units of each coupling, (u,) >= 0, float64 on the CPU, larger stays: what HYDRA does to weights.

    Every unit has a score s_j. A pass uses the k units with the highest scores, as if the others were removed; the loss
    is differentiated in these gates and the gradient handed on to all scores as it is (straight through), so a unit
    that is closed can come back. Adam with a cosine schedule, weights held still, norms and dropout in eval mode.

    Source: Sehwag et al., HYDRA, NeurIPS 2020 (section 3), there for single weights; the straight-through top-k is
    Ramanujan et al., CVPR 2020.

    Args:
        model: pixels (b, *shape) -> logits; left as it was.
        couplings: of the model.
        keep: names of couplings -> k; couplings that are not named have all their units, and keep their start scores.
        train: the samples to learn from.
        objective: what the kept units are to do well, such as `PGDTraining(threat)` or `CrossEntropy()`.
        budget: gradient evaluations for each training image, those of attacks included: see `spending`.
        seed: of the samples' order and the attacks.
        start: scores (u,) >= 0 to begin from; None: the norm of the weights that read a unit. Each coupling's are
            divided by their largest one.
        learning_rate: of the scores, which begin between 0 and 1.
        batch_size: samples of a step.
        progress: told after each step.

    Raises:
        UsageError: an unknown coupling, a number of units out of its range, scores of another length, or a budget too
            small for one batch; `LostRunError`: the loss is no number.
        ModelError: a coupling that cannot be gated.
    """
    named = {coupling.name: coupling for coupling in couplings}
    _check(named, keep)
    length = spending(budget, objective.cost, len(train), batch_size)
    net = copy.deepcopy(model).eval().requires_grad_(False)
    like = next(net.parameters())
    scores = {name: _first(net, coupling, start).to(like) for name, coupling in named.items()}
    learnt = [scores[name].requires_grad_() for name in keep]
    optimiser = torch.optim.Adam(learnt, lr=learning_rate)
    rates, loss = cosine(learning_rate, length.steps), objective.start()
    order, numbers = stream(seed, "unit scores/order"), stream(seed, "unit scores/objective")
    batches: list[Tensor] = []
    gates: dict[str, Tensor] = {name: scores[name] for name in keep}
    with torch.enable_grad(), gated(net, couplings, gates):
        for step, rate in enumerate(rates, start=1):
            if not batches:
                parts = torch.randperm(len(train), generator=order).split(batch_size)
                batches = list(tuple(part for part in parts if len(part) > 1) or parts)
            chosen = batches.pop(0)
            x, y = train.x[chosen].to(like), train.y[chosen].to(like.device)
            gates.update({name: open_best(scores[name], keep[name]) for name in keep})
            value = loss(net, x, y, numbers).mean()
            if not bool(value.isfinite()):
                raise LostRunError(
                    f"the loss is {float(value.detach())} at step {step}: the model cannot be scored with it"
                )
            optimiser.param_groups[0]["lr"] = rate
            for score, gradient in zip(learnt, torch.autograd.grad(value, learnt), strict=True):
                score.grad = gradient
            optimiser.step()
            if progress is not None:
                progress("unit scores", step, length.steps)
    found = {name: score.detach().double().cpu() for name, score in scores.items()}
    return {name: score - score.min().clamp(max=0) for name, score in found.items()}


def open_best(scores: Tensor, k: int) -> Tensor:
    """Gates (u,): 1 for the k highest scores, ties to the earlier unit, else 0; their gradient is the scores' own."""
    best = scores.detach().sort(descending=True, stable=True).indices[:k]
    mask = torch.zeros_like(scores).index_fill(0, best, 1.0)
    return mask + (scores - scores.detach())


def _first(model: nn.Module, coupling: Coupling, start: Mapping[str, Tensor] | None) -> Tensor:
    """Scores (u,) in [0, 1] to begin from."""
    if start is not None:
        found = start[coupling.name].detach().double()
        if found.shape != (coupling.units,):
            raise UsageError(
                f"expected {coupling.units} scores for coupling {coupling.name!r}, got shape {tuple(found.shape)}"
            )
    else:
        found = torch.zeros(coupling.units, dtype=torch.float64)
        for member in coupling.members:
            if member.side == "in":
                each = read_by(model, member).double().square().sum(1).cpu()
                found += torch.stack([each[list(places)].sum() for places in member.index])
        found = found.sqrt()
    largest = found.max()
    return found / largest if largest > 0 else found


def _check(named: Mapping[str, Coupling], keep: Mapping[str, int]) -> None:
    if not keep:
        raise UsageError("no coupling is to be scored: give the number of units that stay of at least one")
    for name, k in keep.items():
        if name not in named:
            raise UsageError(f"no coupling {name!r}: expected some of {', '.join(named) or 'none'}")
        if not 1 <= k <= named[name].units:
            raise UsageError(f"coupling {name!r} has {named[name].units} units, so 1 to that many can stay, got {k}")
        if not any(member.side == "in" for member in named[name].members):
            raise ModelError(f"nothing reads coupling {name!r}, so its units cannot be scored: leave it out")
