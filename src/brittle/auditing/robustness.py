"""Brackets the robust accuracy at every threat: certificate below, attack above, noise as the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from time import monotonic

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.attacks.protocol import Attack
from brittle.auditing.certificates import Certified, certify
from brittle.auditing.pictures import examples
from brittle.auditing.progress import prefixed
from brittle.bounds.ladder import Constants
from brittle.bounds.risk import gap
from brittle.errors import SoundnessError
from brittle.evaluation.accuracy import Attacked, attack_survivors, clean_right, noise_right
from brittle.evaluation.adversarial_loss import worst_losses
from brittle.evaluation.batches import Progress
from brittle.evaluation.checkpoint import Memory
from brittle.evaluation.intervals import wilson
from brittle.operators.graph import Graph
from brittle.results.bounds import Gap
from brittle.results.robustness import Example, Outcomes, Robustness, bits, threat_key
from brittle.threats import Ball

_PICTURES = 4
# The loss gap of Corollary 3.3 attacks every sample to the end, so it takes a part of them.
GAP_SAMPLES, GAP_STEPS = 500, 20


@dataclass(frozen=True)
class Brackets:
    """All threats' brackets, the gaps, what happened to each sample, and pictures."""

    robustness: tuple[Robustness, ...]
    gaps: tuple[Gap, ...]
    outcomes: Outcomes
    examples: tuple[Example, ...]
    survived: dict[Ball, Tensor]
    complete: bool


def measure(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threats: Sequence[Ball],
    attacks: Sequence[Attack],
    graph: Graph | None,
    constants: Mapping[str, Constants],
    *,
    effort: str,
    time_limit: float | None = None,
    batch_size: int,
    seed: int,
    classes: tuple[str, ...],
    progress: Progress | None,
    deadline: float | None,
    memory: Memory | None = None,
    gradients: bool = True,
) -> Brackets:
    """Measure every threat on samples x (n, *shape) in the model's number format, y (n,).

    The gaps need a model with gradients: there are none without.

    Raises:
        SoundnessError: an attack broke a certified sample; nothing may be reported then.
    """
    right, logits = clean_right(model, x, y, batch_size)
    certificates = certify(
        graph, constants, logits, x, y, threats, effort=effort, time_limit=time_limit, progress=progress
    )
    outcomes = {"clean": bits(right)}
    rows: list[Robustness] = []
    gaps: list[Gap] = []
    pictures: list[Example] = []
    survived: dict[Ball, Tensor] = {}
    complete = True
    for threat in threats:
        key = threat_key(threat.norm, threat.epsilon)
        certified = certificates[key].mask
        noise = noise_right(model, x, y, threat, batch_size=batch_size, seed=seed)[0]
        done = attack_survivors(
            model,
            x,
            y,
            threat,
            attacks,
            batch_size=batch_size,
            seed=seed,
            progress=prefixed(progress, f"{key} "),
            deadline=deadline,
            memory=memory,
        )
        _assert_sound(threat, certified, done, x, y)
        complete &= done.complete
        survived[threat] = done.survived
        outcomes |= {key: bits(done.survived), f"noise:{key}": bits(noise), f"certified:{key}": bits(certified)}
        rows.append(_row(threat, right, certificates[key], noise, done))
        late = deadline is not None and monotonic() >= deadline
        complete &= not late
        if done.complete and not late and gradients:
            told = prefixed(progress, f"{key} ")
            gaps += _gap(model, x, y, threat, done, logits, constants, batch_size=batch_size, seed=seed, progress=told)
        after = clean_right(model, done.x_adv, y, batch_size)[1].argmax(1)
        pictures += examples(threat, x, done.x_adv, y, logits.argmax(1), after, classes, _PICTURES)
    labels = tuple(int(label) for label in y)
    return Brackets(tuple(rows), tuple(gaps), Outcomes(outcomes, labels), tuple(pictures), survived, complete)


def _gap(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    done: Attacked,
    logits: Tensor,
    constants: Mapping[str, Constants],
    *,
    batch_size: int,
    seed: int,
    progress: Progress | None,
) -> tuple[Gap, ...]:
    """F_adv - F on evenly spaced samples; none where logits of perturbed inputs overflow."""
    count = min(len(x), GAP_SAMPLES)
    rows = torch.arange(count) * len(x) // count
    losses = worst_losses(
        model,
        x[rows],
        y[rows],
        threat,
        batch_size=batch_size,
        seed=seed,
        steps=GAP_STEPS,
        indices=rows,
        progress=progress,
    )
    clean = float(F.cross_entropy(logits[rows].double(), y[rows]))
    worst = float(torch.fmax(losses, done.loss[rows]).double().mean())
    if not isfinite(worst):
        return ()
    return (gap(threat.norm, threat.epsilon, clean, worst, constants[threat.norm].pairs, len(rows)),)


def _assert_sound(threat: Ball, certified: Tensor, done: Attacked, x: Tensor, y: Tensor) -> None:
    broken = (certified & ~done.survived.cpu()).nonzero()[:, 0].tolist()
    if broken:
        first = broken[0]
        report: dict[str, object] = {
            "norm": threat.norm,
            "epsilon": threat.epsilon,
            "samples": broken,
            "label": int(y[first]),
            "x": x[first].flatten().tolist(),
            "x_adv": done.x_adv[first].flatten().tolist(),
        }
        raise SoundnessError(
            f"{len(broken)} certified samples were flipped by an attack at {threat.norm} {threat.epsilon:g}, the first "
            f"is sample {first}: this is a bug in brittle, please report it",
            report,
        )


def _row(threat: Ball, right: Tensor, certified: Certified, noise: Tensor, done: Attacked) -> Robustness:
    n, survivors = len(right), int(done.survived.sum())
    return Robustness(
        norm=threat.norm,
        epsilon=threat.epsilon,
        n=n,
        clean=float(right.double().mean()),
        certified=float(certified.mask.double().mean()),
        attacked=survivors / n,
        attack=" + ".join(step.attack for step in done.steps),
        interval95=wilson(survivors, n),
        noise=float(noise.double().mean()),
        certified_by=certified.by,
        steps=done.steps,
    )
