"""The adversarial risk from below: the largest cross-entropy an attack finds around each sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.losses import cross_entropy
from brittle.evaluation.accuracy import clean_right
from brittle.evaluation.batches import Progress, batches, device_of, prepare
from brittle.models.frozen import frozen
from brittle.threats import Ball


def worst_losses(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    *,
    batch_size: int,
    seed: int,
    steps: int = 50,
    indices: Tensor | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """A lower bound on `max_{x' in ball and box} cross_entropy(x', y)` for each sample, (n,) nats.

    Auto-PGD on the cross-entropy for all samples, misclassified ones too, without stopping at the first error; never
    below the clean loss. Its mean is the F_adv of Corollary 3.3, from below.

    Raises:
        UsageError, DataError, ModelError: as `brittle.evaluation.accuracy.attack_survivors`.
    """
    positions = prepare(x, y, indices, batch_size)
    device = device_of(model, x)
    attack = WorstCase(APGD(steps))
    with frozen(model):
        _, logits = clean_right(model, x, y, batch_size)
        losses = cross_entropy(logits, y).to(x.dtype)
        done = 0
        for part in batches(torch.arange(len(x), device=x.device), batch_size):
            centre, label = x[part].to(device), y[part].to(device)
            answer = attack(model, centre, label, threat, indices=positions[part], seed=seed)
            with torch.no_grad():
                losses[part] = torch.fmax(losses[part], cross_entropy(model(answer), label).to(losses))
            done += len(part)
            if progress is not None:
                progress(attack.name, done, len(x))
    return losses
