"""Running statistics of batch norm, measured again after a compression."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from brittle.models.frozen import frozen

# Training images that say enough about means and variances.
_SAMPLES = 2048


@torch.no_grad()
def recalibrate(model: nn.Module, x: Tensor, batch_size: int) -> int:
    """Give every batch norm the statistics of its inputs now, in place; how many there are.

    What a layer receives is not what it was before layers around it lost units or rank, and a model in eval mode
    (which is what attacks see) goes by the running statistics. The average over the batches of the first 2,048 samples,
    by forward passes alone; weights, modes and momenta stay as they are. Norms without running statistics are passed
    over, and so is a batch of one sample.

    Args:
        model: pixels (b, *shape) -> logits.
        x: training pixels (n, *shape), in random order or one that says nothing about classes.
        batch_size: of a pass.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    batches = [part for part in x[:_SAMPLES].split(batch_size) if len(part) > 1]
    if not norms or not batches:
        return 0
    momenta = [norm.momentum for norm in norms]
    like = next(model.parameters())
    with frozen(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True  # None: the plain average over the batches
        try:
            for part in batches:
                model(part.to(like))
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
    return len(norms)
