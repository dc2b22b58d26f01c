"""What is proved about each sample: the better of global constants and local bounds, and which of them it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from brittle.bounds.certificate import certified_radii
from brittle.bounds.ladder import Constants
from brittle.bounds.local import LocalCertificate, local_certificates
from brittle.evaluation.progress import Progress
from brittle.operators.graph import Graph
from brittle.results.robustness import threat_key
from brittle.threats import Ball

# What the network's own arithmetic may move a margin, relative to the largest logit, by number format.
_SLACK = {torch.float64: 1e-11, torch.float32: 1e-5}

# The most multiply-adds for local bounds by effort: on one core 40 s, 20 minutes, two hours. Small nets take seconds.
LOCAL_WORK = {"quick": 1e11, "standard": 3e12, "thorough": 2e13}
# A time limit caps them too, by count and not by clock, so that its outcome does not depend on the machine's load.
_WORK_PER_SECOND = 1e9
# Steps of alpha-CROWN on what CROWN leaves undecided
ALPHA_STEPS = {"quick": 0, "standard": 0, "thorough": 20}


@dataclass(frozen=True)
class Certified:
    """Samples proved robust at one threat, (n,) bool on the CPU, and by what."""

    mask: Tensor
    by: str


def certify(
    graph: Graph | None,
    constants: Mapping[str, Constants],
    logits: Tensor,
    x: Tensor,
    y: Tensor,
    threats: Sequence[Ball],
    *,
    effort: str,
    time_limit: float | None = None,
    progress: Progress | None,
) -> dict[str, Certified]:
    """For each threat, by `threat_key`, the samples that global constants or local bounds certify.

    Args:
        graph: the network, None where it could not be read.
        constants: global constants by norm.
        logits: (n, K) of the clean samples, as the model computes them.
        x: pixels (n, *shape) in the number format the model is evaluated in.
        y: labels (n,).
        threats: the balls.
        effort: decides how much work local bounds may take.
        time_limit: of the whole audit in seconds; None for none.
        progress: told after every batch of local bounds.
    """
    slack = _SLACK[x.dtype]
    local = local_certificates(
        graph,
        x,
        y,
        threats,
        slack=slack,
        work_limit=min(LOCAL_WORK[effort], inf if time_limit is None else time_limit * _WORK_PER_SECOND),
        alpha_steps=ALPHA_STEPS[effort],
        progress=progress,
    )
    found = {}
    for threat in threats:
        key = threat_key(threat.norm, threat.epsilon)
        by_constants = _global(constants[threat.norm], threat, logits, y, slack)
        by_bounds = local[key].certified & (logits.argmax(1) == y).cpu()
        names = []
        if bool(by_bounds.any()):
            names.append(local[key].method)
        if bool((by_constants & ~by_bounds).any()):
            names.append("global Lipschitz constants of class pairs")
        found[key] = Certified(by_constants | by_bounds, " and ".join(names) or _nothing(local[key]))
    return found


def _nothing(local: LocalCertificate) -> str:
    return f"none ({local.why or f'{local.method} proved nothing'})"


def _global(constants: Constants, threat: Ball, logits: Tensor, y: Tensor, slack: float) -> Tensor:
    if constants.pairs is None or not isfinite(float(constants.pairs.max())):
        return torch.zeros(len(y), dtype=torch.bool)
    return certified_radii(logits.cpu(), y.cpu(), constants.pairs, slack) > threat.epsilon
