"""Checked samples, cut into batches of the user's size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from brittle.attacks.room import check_samples
from brittle.errors import DataError, ModelError, UsageError
from brittle.evaluation.progress import Progress

__all__ = ["Progress", "batches", "check_logits", "device_of", "prepare"]


def prepare(x: Tensor, y: Tensor, indices: Tensor | None, batch_size: int) -> Tensor:
    """Check the samples and return their indices, 0 ... n - 1 by default, (n,) int64 on the samples' device.

    Raises:
        UsageError: batch_size < 1, or pixels that are neither float32 nor float64.
        DataError: samples that are not pixels with labels (see `brittle.attacks.room.check_samples`).
    """
    if batch_size < 1:
        raise UsageError(f"the batch size must be >= 1, got {batch_size}")
    positions = torch.arange(len(x), device=x.device) if indices is None else indices.to(x.device)
    check_samples(x, y, positions)
    return positions


def batches(rows: Tensor, batch_size: int) -> Iterator[Tensor]:
    """`rows` (n,) in pieces of at most `batch_size`; nothing for no rows."""
    return iter(rows.split(batch_size)) if len(rows) else iter(())


def device_of(model: nn.Module, x: Tensor) -> torch.device:
    """Where the model computes: the device of its first parameter, else the samples' own."""
    parameter = next(model.parameters(), None)
    return x.device if parameter is None else parameter.device


def check_logits(logits: object, y: Tensor) -> Tensor:
    """The logits of a batch, if they are finite scores (b, classes) that have a place for every label.

    Raises:
        ModelError: another type or shape, fewer than two classes, or entries that are not finite.
        DataError: a label outside 0 ... classes - 1.
    """
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"expected a tensor of logits from the model, got {type(logits).__name__}: wrap it so that it returns one"
        )
    if logits.dim() != 2 or logits.shape[0] != len(y) or logits.shape[1] < 2:
        raise ModelError(
            f"expected logits of shape ({len(y)}, classes) with at least 2 classes, got {tuple(logits.shape)}: "
            "the model must be a classifier with one score per class"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("expected finite logits, got NaN or infinity: check the weights and the number format")
    if int(y.min()) < 0 or int(y.max()) >= logits.shape[1]:
        raise DataError(
            f"expected labels from 0 to {logits.shape[1] - 1} for a model of {logits.shape[1]} classes, "
            f"got {int(y.min())} to {int(y.max())}: check that model and data belong together"
        )
    return logits
