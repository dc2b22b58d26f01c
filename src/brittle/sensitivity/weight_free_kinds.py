"""Three kinds of adversary: made with a net's weights, or with queries to the target, and scored on the target.

Legend: what is made is x_adv (n, *shape) for examples, delta (*shape) for a universal perturbation, V (k, *shape) for
directions. No scoring takes a gradient of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.protocol import Attack
from brittle.attacks.square import PAINTERS, Square
from brittle.attacks.universal import SteepestAscent, fit_universal
from brittle.directions.network import network_directions
from brittle.evaluation.batches import batches, device_of
from brittle.models.frozen import frozen
from brittle.sensitivity.queries import query_directions, query_universal
from brittle.sensitivity.queries_span import SpanSearch
from brittle.threats import Ball, in_box


@dataclass(frozen=True)
class Effort:
    """How hard the adversaries work.

    `steps` of Auto-PGD for examples; `square` queries of Square for each sample; `k` directions from `probes` pairs of
    queries for each fitting sample, scored by `tries` random tries each; `universal` steps of a universal perturbation
    from queries, `ascent` how one is fitted with weights.
    """

    steps: int = 20
    square: int = 500
    k: int = 8
    probes: int = 16
    tries: int = 100
    universal: int = 40
    ascent: SteepestAscent = field(default_factory=SteepestAscent)


@dataclass(frozen=True, eq=False)
class Job:
    """Fitting samples, scoring samples (disjoint from them), the threat and the settings that all kinds share."""

    x_fit: Tensor
    y_fit: Tensor
    x: Tensor
    y: Tensor
    threat: Ball
    effort: Effort
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Kind:
    """One kind of adversary.

    `weights(model, job)` makes perturbations with a model's weights; `queries(target, job)` with the target's logits,
    and says how many queries each fitting sample took (where `possible(threat)`); `right(target, made, job)` says which
    scoring samples the target still classifies correctly, (n,) bool.
    """

    weights: Callable[[nn.Module, Job], Tensor]
    queries: Callable[[nn.Module, Job], tuple[Tensor, int]]
    right: Callable[[nn.Module, Tensor, Job], Tensor]
    possible: Callable[[Ball], bool] = lambda threat: True


def right_at(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    """Whether each of x (n, *shape) is classified as y, (n,) bool."""
    with frozen(model), torch.no_grad():
        parts = batches(torch.arange(len(x), device=x.device), batch_size)
        return torch.cat([model(x[p].to(device_of(model, x))).argmax(1).to(x.device) == y[p] for p in parts])


def _attacked(model: nn.Module, attack: Attack, job: Job) -> Tensor:
    device, found = device_of(model, job.x), []
    for part in batches(torch.arange(len(job.x), device=job.x.device), job.batch_size):
        answer = attack(model, job.x[part].to(device), job.y[part].to(device), job.threat, indices=part, seed=job.seed)
        found.append(answer.to(job.x))
    return torch.cat(found)


def _examples(model: nn.Module, job: Job) -> Tensor:
    # The largest loss travels further than the first error.
    return _attacked(model, WorstCase(APGD(job.effort.steps)), job)


def _queried_examples(target: nn.Module, job: Job) -> tuple[Tensor, int]:
    return _attacked(target, Square(queries=job.effort.square), job), job.effort.square


def _examples_right(target: nn.Module, x_adv: Tensor, job: Job) -> Tensor:
    return right_at(target, x_adv, job.y, job.batch_size)


def _universal(model: nn.Module, job: Job) -> Tensor:
    return fit_universal(
        model,
        job.x_fit,
        job.y_fit,
        job.threat,
        method=job.effort.ascent,
        seed=job.seed,
        batch_size=job.batch_size,
    )


def _queried_universal(target: nn.Module, job: Job) -> tuple[Tensor, int]:
    return query_universal(
        target,
        job.x_fit,
        job.y_fit,
        job.threat,
        steps=job.effort.universal,
        batch_size=job.batch_size,
        seed=job.seed,
    )


def _universal_right(target: nn.Module, delta: Tensor, job: Job) -> Tensor:
    return right_at(target, in_box(job.x, delta[None]), job.y, job.batch_size)


def _directions(model: nn.Module, job: Job) -> Tensor:
    _, basis = network_directions(
        model,
        job.x_fit,
        job.y_fit,
        job.x[:1],  # the record, which is not kept, would be scored there
        job.y[:1],
        map="margin",
        k=job.effort.k,
        batch_size=job.batch_size,
        seed=job.seed,
    )
    return basis


def _queried_directions(target: nn.Module, job: Job) -> tuple[Tensor, int]:
    found = query_directions(
        target,
        job.x_fit,
        job.y_fit,
        k=job.effort.k,
        probes=job.effort.probes,
        batch_size=job.batch_size,
        seed=job.seed,
    )
    return found.basis, found.queries


def _directions_right(target: nn.Module, basis: Tensor, job: Job) -> Tensor:
    answers = _attacked(target, SpanSearch(basis, tries=job.effort.tries), job)
    return right_at(target, answers, job.y, job.batch_size)


KINDS: dict[str, Kind] = {
    "examples": Kind(_examples, _queried_examples, _examples_right, lambda threat: threat.norm in PAINTERS),
    "universal": Kind(_universal, _queried_universal, _universal_right),
    "directions": Kind(_directions, _queried_directions, _directions_right),
}
