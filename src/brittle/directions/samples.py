"""What goes into a search for directions, checked: samples to fit and to score, and the search's own settings."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from brittle.directions.subspace import Progress
from brittle.errors import DataError, ModelError, UsageError

_FORMATS = (torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class Samples:
    """Pixels x (n, *shape) in [0, 1] and labels y (n,) int64, or None for the classes that the model predicts."""

    x: Tensor
    y: Tensor | None

    def check(self, role: str) -> None:
        """Refuse samples that directions cannot be fitted or scored on; `role` names them in the message.

        Raises:
            UsageError: pixels that are neither float32 nor float64.
            DataError: no samples, pixels outside [0, 1] or not finite, labels of another type or number.
        """
        x, y = self.x, self.y
        if x.dtype not in _FORMATS:
            raise UsageError(f"expected float32 or float64 pixels, got {x.dtype}: convert them with x.float()")
        if x.dim() < 2 or x.numel() == 0:
            raise DataError(
                f"expected pixels of shape (n, ...), n >= 1, to {role}, got {tuple(x.shape)}: give a batch of samples"
            )
        low, high = float(x.min()), float(x.max())
        if not (low >= 0.0 and high <= 1.0):  # False for NaN too
            raise DataError(f"expected pixels in [0, 1], got [{low:g}, {high:g}]: put normalisation inside the model")
        if y is not None and (y.dtype != torch.int64 or y.shape != (len(x),)):
            raise DataError(
                f"expected {len(x)} int64 labels, one per sample to {role}, got {y.dtype} of shape {tuple(y.shape)}"
            )


@dataclass(frozen=True)
class Search:
    """How to search.

    k directions; `batch_size` samples linearised at once; the seed of every random choice; the relative residual
    `tolerance` at which a direction is accepted; the `budget` of products `A v`; who is told about progress.
    """

    k: int
    batch_size: int
    seed: int
    tolerance: float
    budget: int
    progress: Progress | None = None

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse settings out of range for samples of `shape`.

        Raises:
            UsageError: k outside 1 ... pixels, batch size or budget below 1, a tolerance outside (0, 1).
        """
        pixels = prod(shape)
        if not 1 <= self.k <= pixels:
            raise UsageError(
                f"k must be from 1 to {pixels}, the number of pixels, got {self.k}: ask for fewer directions"
            )
        if self.batch_size < 1:
            raise UsageError(f"the batch size must be >= 1, got {self.batch_size}")
        if not 0.0 < self.tolerance < 1.0:
            raise UsageError(f"the tolerance must lie in (0, 1), got {self.tolerance}: 0.01 is usual")
        if self.budget < 1:
            raise UsageError(f"the budget of products must be >= 1, got {self.budget}: 128 is usual")


def check_pair(fit: Samples, score: Samples) -> None:
    """Refuse samples that do not fit together.

    Raises:
        UsageError, DataError: as `Samples.check`, or shapes, number formats or devices that differ.
    """
    fit.check("fit")
    score.check("score")
    if fit.x.shape[1:] != score.x.shape[1:]:
        raise DataError(
            f"samples to fit and to score need one shape, got {tuple(fit.x.shape[1:])} and {tuple(score.x.shape[1:])}"
        )
    if fit.x.dtype != score.x.dtype:
        raise UsageError(f"samples to fit and to score need one number format, got {fit.x.dtype} and {score.x.dtype}")


def check_formats(model: nn.Module, x: Tensor) -> None:
    """Refuse a model whose number format is not that of the pixels, or too coarse to differentiate.

    Raises:
        ModelError: floating-point parameters other than float32 and float64.
        UsageError: pixels in another format than the parameters.
    """
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            continue
        if parameter.dtype not in _FORMATS:
            raise ModelError(
                f"expected a float32 or float64 model, {name} is {parameter.dtype}: convert it with model.float()"
            )
        if parameter.dtype != x.dtype:
            raise UsageError(
                f"expected pixels in the model's number format {parameter.dtype}, got {x.dtype}: convert them with "
                f"x.to({parameter.dtype})"
            )
