"""What attacks increase: one number per sample, larger is worse for the model.

Legend: b batch, c classes; z logits (b, c), y labels (b,).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]

# Keeps a ratio of logit differences finite where all logits are equal.
_TINY = 1e-12


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """`-log softmax(z)_y` in nats, (b, c), (b,) -> (b,)."""
    return functional.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """`max_{j != y} z_j - z_y`, positive where misclassified, (b, c), (b,) -> (b,) (Carlini & Wagner 2017, f_6)."""
    return _largest_other(logits, y) - _at(logits, y)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio, (b, c), (b,) -> (b,) (Croce & Hein 2020, eq. 6).

    `(max_{j != y} z_j - z_y) / (z_(1) - z_(3))` with z_(1) >= z_(2) >= ... : unlike the cross-entropy it does not
    change when the logits are scaled or shifted. Two classes have no z_(3): the margin then stands in.
    """
    if logits.shape[1] < 3:
        return margin(logits, y)
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2]).clamp_min(_TINY)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted difference of logits ratio, (b, c), (b,), (b,) -> (b,) (Croce & Hein 2020, eq. 7).

    `(z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)`, larger as the model leans from the label to the target. Fewer than
    four classes have no z_(4): `z_t - z_y` then stands in.
    """
    difference = _at(logits, target) - _at(logits, y)
    if logits.shape[1] < 4:
        return difference
    top = logits.topk(4, dim=1).values
    return difference / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2).clamp_min(_TINY)


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def _at(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels[:, None])[:, 0]


def _largest_other(logits: Tensor, y: Tensor) -> Tensor:
    mask = torch.zeros_like(logits, dtype=torch.bool).scatter(1, y[:, None], True)
    return logits.masked_fill(mask, -torch.inf).amax(1)
