"""Brackets the robust accuracy at every threat: certificate below, attack above, noise as the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.attacks.protocol import Attack
from brittle.auditing.pictures import examples
from brittle.bounds.certificate import certified_radii
from brittle.bounds.ladder import Constants
from brittle.bounds.risk import gap
from brittle.errors import SoundnessError
from brittle.evaluation.accuracy import Attacked, attack_survivors, clean_right, noise_right
from brittle.evaluation.adversarial_loss import worst_losses
from brittle.evaluation.batches import Progress
from brittle.evaluation.intervals import wilson
from brittle.results.bounds import Gap
from brittle.results.robustness import Example, Outcomes, Robustness, threat_key
from brittle.threats import Ball

# What the network's own arithmetic may move a margin, relative to the largest logit, by number format.
_SLACK = {torch.float64: 1e-11, torch.float32: 1e-5}
_PICTURES = 4


@dataclass(frozen=True)
class Brackets:
    """All threats' brackets, the gaps, what happened to each sample, and pictures."""

    robustness: tuple[Robustness, ...]
    gaps: tuple[Gap, ...]
    outcomes: Outcomes
    examples: tuple[Example, ...]
    complete: bool


def measure(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threats: Sequence[Ball],
    attacks: Sequence[Attack],
    constants: Mapping[str, Constants],
    *,
    batch_size: int,
    seed: int,
    classes: tuple[str, ...],
    progress: Progress | None,
    deadline: float | None,
) -> Brackets:
    """Measure every threat on samples x (n, *shape) in the model's number format, y (n,).

    Raises:
        SoundnessError: an attack broke a certified sample; nothing may be reported then.
    """
    right, logits = clean_right(model, x, y, batch_size)
    clean_loss = float(F.cross_entropy(logits.double(), y))
    outcomes = {"clean": _bits(right)}
    rows: list[Robustness] = []
    gaps: list[Gap] = []
    pictures: list[Example] = []
    complete = True
    for threat in threats:
        key = threat_key(threat.norm, threat.epsilon)
        certified = _certified(constants[threat.norm], threat, logits, y, x.dtype)
        noise = noise_right(model, x, y, threat, batch_size=batch_size, seed=seed)[0]
        done = attack_survivors(
            model, x, y, threat, attacks, batch_size=batch_size, seed=seed, progress=_named(progress, key), deadline=deadline
        )
        _assert_sound(threat, certified, done, x, y)
        complete &= done.complete
        outcomes |= {key: _bits(done.survived), f"noise:{key}": _bits(noise), f"certified:{key}": _bits(certified)}
        rows.append(_row(threat, right, certified, noise, done))
        if done.complete:
            losses = worst_losses(model, x, y, threat, batch_size=batch_size, seed=seed, steps=20)
            worst = float(torch.fmax(losses, done.loss).double().mean())
            gaps.append(gap(threat.norm, threat.epsilon, clean_loss, worst, constants[threat.norm].pairs))
        after = clean_right(model, done.x_adv, y, batch_size)[1].argmax(1)
        pictures += examples(threat, x, done.x_adv, y, logits.argmax(1), after, classes, _PICTURES)
    labels = tuple(int(label) for label in y)
    return Brackets(tuple(rows), tuple(gaps), Outcomes(outcomes, labels), tuple(pictures), complete)


def _certified(constants: Constants, threat: Ball, logits: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    if constants.pairs is None or not isfinite(float(constants.pairs.max())):
        return torch.zeros(len(y), dtype=torch.bool)
    radii = certified_radii(logits.cpu(), y.cpu(), constants.pairs, _SLACK[dtype])
    return radii > threat.epsilon


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
            f"{len(broken)} certified samples were flipped by an attack at {threat.norm} {threat.epsilon:g}, the first is "
            f"sample {first}: this is a bug in brittle, please report it",
            report,
        )


def _row(threat: Ball, right: Tensor, certified: Tensor, noise: Tensor, done: Attacked) -> Robustness:
    n, survivors = len(right), int(done.survived.sum())
    return Robustness(
        norm=threat.norm,
        epsilon=threat.epsilon,
        n=n,
        clean=float(right.double().mean()),
        certified=float(certified.double().mean()),
        attacked=survivors / n,
        attack=" + ".join(step.attack for step in done.steps),
        interval95=wilson(survivors, n),
        noise=float(noise.double().mean()),
        certified_by="global Lipschitz constants of class pairs" if bool(certified.any()) else "none",
        steps=done.steps,
    )


def _named(progress: Progress | None, key: str) -> Progress | None:
    if progress is None:
        return None
    return lambda stage, done, total: progress(f"{key} {stage}", done, total)


def _bits(mask: Tensor) -> str:
    return "".join("1" if bit else "0" for bit in mask.tolist())
