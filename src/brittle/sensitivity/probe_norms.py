"""Batch norm's running statistics measured again, for a net whose weights were changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from brittle.evaluation.batches import batches, device_of


def measure_norms(model: nn.Module, x: Tensor, *, batch_size: int) -> None:
    """Set the running statistics of every batch norm layer to the mean over batches of x (n, *shape), in place.

    Statistics of the old weights would shift and scale the new ones' outputs by chance. Everything else runs in
    evaluation mode; a layer without running statistics is left alone, and so is a last batch of one.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        return
    with _only_norms_train(model, layers), torch.no_grad():
        for part in batches(torch.arange(len(x), device=x.device), batch_size):
            if len(part) > 1:
                model(x[part].to(device_of(model, x)))


@contextmanager
def _only_norms_train(model: nn.Module, layers: list[_BatchNorm]) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    momenta = [layer.momentum for layer in layers]
    try:
        for module, _ in modes:
            module.training = False
        for layer in layers:
            layer.reset_running_stats()
            layer.training, layer.momentum = True, None  # None: the plain mean over batches
        yield
    finally:
        for module, training in modes:
            module.training = training
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
