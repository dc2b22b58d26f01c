"""How long the attacks will take, from one timed gradient."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor, nn

from brittle.attacks.gradient import input_gradient
from brittle.attacks.losses import cross_entropy
from brittle.attacks.protocol import Attack
from brittle.auditing.robustness import GAP_SAMPLES, GAP_STEPS
from brittle.threats import Ball

# Share of samples that a later attack still meets, a guess in the middle of what audits show.
_STANDING = 0.7


def forecast_seconds(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threats: Sequence[Ball],
    attacks: Sequence[Attack],
    batch_size: int,
    more: float = 0.0,
) -> float:
    """Expected seconds for all threats: gradients per sample times samples times one gradient's measured time.

    `more` counts the gradients of one norm's later stages, all samples together.
    """
    part = slice(0, min(batch_size, len(x)))
    device = next(model.parameters()).device
    start = 0.0
    try:
        for _ in range(2):  # the first call warms up
            start = perf_counter()
            input_gradient(model, x[part].to(device), y[part].to(device), cross_entropy)
    except Exception:  # no gradients: the preflight says so
        return 0.0
    if device.type == "cuda":
        torch.cuda.synchronize()
    each = (perf_counter() - start) / (part.stop - part.start)
    gradients = attacks[0].cost + _STANDING * sum(a.cost for a in attacks[1:])
    brackets = len(threats) * (gradients * len(x) + GAP_STEPS * min(len(x), GAP_SAMPLES))
    return each * (brackets + more * len({threat.norm for threat in threats}))
