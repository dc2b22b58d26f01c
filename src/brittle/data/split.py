"""One part of a data set, checked: float32 pixels in [0, 1] and integer labels.

Legend: n samples, c channels, h rows, w columns, d features of inputs that are not images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brittle.data.order import Index, shuffled
from brittle.errors import DataError, UsageError

# A label above this is no class index but something else (an identifier, a year) in the wrong column.
_MOST_CLASSES = 1_000_000


@dataclass(frozen=True, eq=False)
class Split:
    """Samples in a fixed order, on the CPU.

    `x` is float32 (n, c, h, w), or (n, d) for inputs that are not images, in [0, 1]; `y` is int64 (n,).
    Build one with `check_split`, which is what makes these promises true.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def sha256(self) -> str:
        """Hex digest of what the samples are, whatever file they came from.

        SHA-256 of the ASCII text of the shape of x (such as "10000,1,28,28"), then the pixels as little-endian
        float32, then the labels as little-endian int64, all in order.
        """
        digest = hashlib.sha256(",".join(str(size) for size in self.x.shape).encode("ascii"))
        digest.update(np.ascontiguousarray(self.x.numpy(), dtype="<f4").data)
        digest.update(np.ascontiguousarray(self.y.numpy(), dtype="<i8").data)
        return digest.hexdigest()

    def take(self, n: int | None, seed: int) -> Split:
        """A simple random sample of `n` without replacement, in ascending index order.

        Simple random, so that binomial intervals hold for it. Nested: with one seed, a smaller n gives a subset of a
        larger one. All samples where `n` is None or at least `len(self)`.

        Raises:
            UsageError: `n` below 1, or a negative seed.
        """
        if n is not None and n < 1:
            raise UsageError(f"the number of samples must be at least 1, got {n}: leave it out to take them all")
        if seed < 0:
            raise UsageError(f"the seed must be a whole number of at least 0, got {seed}")
        if n is None or n >= len(self):
            return self
        return self.at(np.sort(shuffled(len(self), seed)[:n]))

    def at(self, index: Index) -> Split:
        """The samples at these positions, in this order."""
        chosen = torch.from_numpy(index)
        return Split(self.x[chosen], self.y[chosen])


def unit_pixels(values: NDArray[np.uint8]) -> Tensor:
    """Bytes 0 .. 255 as float32 pixels `value / 255`, any shape: the one place where every format does this."""
    pixels = values.astype(np.float32)
    pixels /= np.float32(255)
    return torch.from_numpy(pixels)


def check_split(x: Tensor, y: Tensor, classes: int | None, source: str) -> Split:
    """The samples as a `Split`, after every check that needs no model.

    Args:
        x: floating point (n, c, h, w) or (n, d), pixels in [0, 1], any device; stored as float32.
        y: integers (n,) in 0 .. classes - 1; stored as int64.
        classes: how many classes there are; None where only the labels can tell.
        source: what to call the data in a message, such as "mnist, split test".

    Raises:
        DataError: wrong dimensions or lengths, no samples, pixels that are not floating point, not finite or outside
            [0, 1], labels that are not integers or out of range.
    """
    if x.dim() not in (2, 4):
        hint = "use x.unsqueeze(1) for grey images" if x.dim() == 3 else "reshape it"
        raise DataError(f"{source}: x must be (n, c, h, w) or (n, d), got shape {tuple(x.shape)}: {hint}")
    if y.dim() != 1 or len(y) != len(x):
        hint = "use y.argmax(1) for one-hot labels" if y.dim() == 2 else "give one class index per sample"
        raise DataError(f"{source}: y must have shape ({len(x)},) to match x, got {tuple(y.shape)}: {hint}")
    if x.numel() == 0:
        raise DataError(f"{source}: there are no samples or no pixels (x has shape {tuple(x.shape)}): add data")
    return Split(_checked_pixels(x, source), check_labels(y, classes, source))


def check_labels(y: Tensor, classes: int | None, source: str) -> Tensor:
    """Labels (n,), n > 0, as int64 on the CPU; arguments and errors as in `check_split`."""
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise DataError(
            f"{source}: labels must be integers, got {y.dtype}: use y.long() if they are whole class indices"
        )
    y = y.detach().to("cpu", torch.int64).contiguous()
    lowest, highest = int(y.min()), int(y.max())
    allowed = _MOST_CLASSES if classes is None else classes
    if lowest < 0 or highest >= allowed:
        raise DataError(
            f"{source}: labels must be class indices 0 .. {allowed - 1}, got {lowest} .. {highest}:"
            " renumber the classes from 0, or drop the samples without a class"
        )
    return y


def _checked_pixels(x: Tensor, source: str) -> Tensor:
    if not x.is_floating_point():
        raise DataError(
            f"{source}: pixels must be floating point in [0, 1], got {x.dtype}: use x.float() / 255 for bytes"
        )
    x = x.detach().to("cpu", torch.float32).contiguous()
    lowest, highest = (float(bound) for bound in x.aminmax())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        broken = int((~x.isfinite()).flatten(1).any(1).nonzero()[0])
        raise DataError(
            f"{source}: pixels must be finite numbers in [0, 1], sample {broken} holds NaN or infinity:"
            " repair or drop such samples"
        )
    if lowest < 0 or highest > 1:
        raise DataError(
            f"{source}: pixels must be in [0, 1], got [{lowest:g}, {highest:g}]: {_remedy(lowest, highest)}"
        )
    return x


def _remedy(lowest: float, highest: float) -> str:
    if lowest >= -0.01 and highest <= 1.01:
        return "use x.clamp(0, 1) (resizing filters overshoot a little)"
    if lowest >= 0:
        return "divide by 255, and put any normalisation inside the model with brittle.Pixels(mean, std, model)"
    return "undo the normalisation and put it inside the model with brittle.Pixels(mean, std, model)"
