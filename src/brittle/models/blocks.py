"""The basic residual block (He et al., 2016) and the ways its shortcut can meet a change of shape."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from brittle.errors import ModelError
from brittle.models.activations import activation as new_activation
from brittle.models.layers import conv2d


class PadShortcut(nn.Module):
    """Option A of He et al., section 4.2: take every `stride`-th pixel and fill the new channels with zeros.

    (b, c, height, width) -> (b, c + before + after, ceil(height / stride), ceil(width / stride)), no weights.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Subsample, then pad the channels on both sides."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def _pad(in_channels: int, out_channels: int, stride: int, batch_norm: bool) -> nn.Module:
    if out_channels < in_channels:
        raise ModelError(f"shortcut pad cannot go from {in_channels} to {out_channels} channels: use shortcut=conv")
    return PadShortcut(in_channels, out_channels, stride)


def _conv(in_channels: int, out_channels: int, stride: int, batch_norm: bool) -> nn.Module:
    conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=not batch_norm)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels)) if batch_norm else nn.Sequential(conv)


SHORTCUTS: dict[str, Callable[[int, int, int, bool], nn.Module]] = {"pad": _pad, "conv": _conv}


def check_shortcut(name: str) -> None:
    """Refuse a shortcut that is not in `SHORTCUTS`.

    Raises:
        ModelError: unknown name.
    """
    if name not in SHORTCUTS:
        raise ModelError(f"unknown shortcut {name!r}: expected one of {', '.join(SHORTCUTS)}")


class BasicBlock(nn.Module):
    """`act(bn2(conv2(act(bn1(conv1(x))))) + shortcut(x))` with 3 x 3 convolutions.

    `inner` is the number of filters of conv1, which pruning may lower on its own; `ranks` are those of the two
    convolutions (0: dense). Without batch norm the convolutions have biases.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        inner: int,
        stride: int,
        shortcut: str,
        batch_norm: bool,
        activation: str,
        ranks: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        bias = not batch_norm
        self.conv1 = conv2d(in_channels, inner, 3, stride=stride, padding=1, rank=ranks[0], bias=bias)
        self.bn1 = nn.BatchNorm2d(inner) if batch_norm else nn.Identity()
        self.act1 = new_activation(activation)
        self.conv2 = conv2d(inner, out_channels, 3, stride=1, padding=1, rank=ranks[1], bias=bias)
        self.bn2 = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = SHORTCUTS[shortcut](in_channels, out_channels, stride, batch_norm)
        self.act2 = new_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, height, width) -> (b, out, height', width')."""
        inside = self.act1(self.bn1(self.conv1(x)))
        return self.act2(self.bn2(self.conv2(inside)) + self.shortcut(x))


def full_ranks(in_channels: int, inner: int, out_channels: int) -> list[int]:
    """Full ranks of the two convolutions' reshaped kernels."""
    return [min(inner, 9 * in_channels), min(out_channels, 9 * inner)]
