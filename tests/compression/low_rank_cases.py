"""Convolutions and dense layers, as awkward as torch allows, that tests of low rank share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def _conv(c: int, h: int, kernel: int | tuple[int, int], **options: object) -> nn.Conv2d:
    conv = nn.Conv2d(c, h, kernel, dtype=torch.float64, **options)  # type: ignore[arg-type]
    _fill(conv)
    return conv


def _fill(layer: nn.Module) -> None:
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=parameter.numel() + i))


def dense(d: int, h: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(d, h, bias=bias, dtype=torch.float64)
    _fill(layer)
    return layer


# More filters than channels, fewer, and as many; each with input (c, height, width)
CONVOLUTIONS: dict[str, tuple[nn.Conv2d, tuple[int, int, int]]] = {
    "more filters": (_conv(2, 7, 3, padding=1), (2, 6, 5)),
    "more channels": (_conv(7, 3, 3, padding=1), (7, 6, 5)),
    "strided, no bias": (_conv(5, 4, 3, stride=2, padding=1, bias=False), (5, 7, 8)),
    "rectangular": (_conv(4, 5, (1, 4), stride=(2, 1), padding=(0, 2)), (4, 5, 6)),
    "dilated": (_conv(4, 3, 3, padding=2, dilation=2), (4, 7, 6)),
    "reflect": (_conv(4, 3, 3, padding=1, padding_mode="reflect"), (4, 5, 5)),
    "circular": (_conv(3, 4, 3, padding=2, padding_mode="circular"), (3, 5, 5)),
    "replicate, strided": (_conv(5, 2, 3, stride=2, padding=1, padding_mode="replicate"), (5, 6, 5)),
    "same": (_conv(4, 3, 3, padding="same"), (4, 6, 6)),
    "1 x 1": (_conv(6, 4, 1, stride=2), (6, 5, 5)),
}
