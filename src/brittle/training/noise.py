"""Random numbers of a training run: one generator for each use, noisy labels, heavy-tailed gradient noise."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from math import pi

import torch
from torch import Tensor

from brittle.errors import UsageError


def stream(seed: int, name: str) -> torch.Generator:
    """A CPU generator that belongs to one use of the seed, such as "labels": uses do not shift each other's numbers."""
    word = int.from_bytes(blake2b(f"{int(seed)}/{name}".encode(), digest_size=8).digest(), "little")
    return torch.Generator().manual_seed(word)


def noisy_labels(y: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Labels (n,) of which `round(share n)` are replaced by another class that occurs in y, chosen uniformly.

    Raises:
        UsageError: a share outside [0, 1), or no other class to choose.
    """
    if not 0 <= share < 1:
        raise UsageError(f"label noise is a share of the labels in [0, 1), got {share!r}")
    count = round(share * len(y))
    if count == 0:
        return y
    classes, place = y.unique(return_inverse=True)
    if len(classes) < 2:
        raise UsageError("label noise needs at least 2 classes in the training split, got 1: leave it out")
    chosen = torch.randperm(len(y), generator=generator)[:count]
    # A shift by 1 ... classes - 1 is never the class itself.
    shift = torch.randint(1, len(classes), (count,), generator=generator)
    noisy = y.clone()
    noisy[chosen] = classes[(place[chosen] + shift) % len(classes)]
    return noisy


def alpha_stable(shape: Iterable[int], alpha: float, generator: torch.Generator) -> Tensor:
    """Symmetric alpha-stable numbers of scale 1, float64 on the CPU: `E exp(i t X) = exp(-|t|^alpha)`.

    `X = sin(alpha U) / cos(U)^(1/alpha) * (cos((1 - alpha) U) / E)^((1 - alpha)/alpha)` with U uniform on
    (-pi/2, pi/2) and E exponential (Chambers, Mallows & Stuck 1976). alpha = 2 is normal with variance 2, alpha = 1
    Cauchy; for alpha < 2 the variance is infinite.

    Raises:
        UsageError: alpha outside (0, 2].
    """
    if not 0 < alpha <= 2:
        raise UsageError(f"alpha of heavy-tailed noise must lie in (0, 2], got {alpha!r}: 2 is Gaussian")
    size = tuple(shape)
    u = (torch.rand(size, generator=generator, dtype=torch.float64) - 0.5) * pi
    # 1 - [0, 1) is never zero, and its logarithm is kept from being so.
    tiny = torch.finfo(torch.float64).tiny
    e = -torch.log(1 - torch.rand(size, generator=generator, dtype=torch.float64)).clamp_max(-tiny)
    inverse = 1 / alpha
    return (alpha * u).sin() / u.cos() ** inverse * (((1 - alpha) * u).cos() / e) ** (inverse - 1)


def add_noise(gradients: Iterable[Tensor], alpha: float, scale: float, generator: torch.Generator) -> None:
    """Add `scale * S(alpha)` to every entry, in place; drawn on the CPU, so that devices agree."""
    for gradient in gradients:
        gradient.add_((scale * alpha_stable(gradient.shape, alpha, generator)).to(gradient))
