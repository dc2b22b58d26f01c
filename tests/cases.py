"""Layers that tests and benchmarks share: awkward convolutions, random ones, and the shapes of ResNet-18."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.operators.conv import ConvView
from brittle.operators.linear import DenseView


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal float64 numbers."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _case(shape: tuple[int, ...], in_shape: tuple[int, ...], **geometry: object) -> ConvView:
    return ConvView(normal(*shape, seed=len(geometry) + sum(shape)), in_shape, **geometry)  # type: ignore[arg-type]


CONVOLUTIONS: dict[str, ConvView] = {
    "plain": _case((5, 3, 3, 3), (3, 8, 8), padding=((1, 1),)),
    "valid": _case((5, 3, 3, 3), (3, 8, 8)),
    "strided": _case((6, 2, 3, 3), (2, 9, 8), stride=(2, 2), padding=((1, 1),)),
    "stride beyond the window": _case((3, 2, 2, 2), (2, 9, 9), stride=(3, 4)),
    "grouped": _case((6, 2, 3, 3), (4, 7, 7), padding=((1, 1),), groups=2),
    "depthwise": _case((4, 1, 3, 3), (4, 7, 7), padding=((1, 1),), groups=4),
    "dilated": _case((4, 3, 3, 3), (3, 9, 9), padding=((2, 2),), dilation=(2, 2)),
    "dilated and strided": _case((4, 3, 3, 3), (3, 10, 9), stride=(2, 3), padding=((2, 2),), dilation=(2, 2)),
    "asymmetric padding": _case((4, 3, 4, 4), (3, 7, 7), padding=((1, 2), (2, 0))),
    "rectangular": _case((4, 3, 1, 5), (3, 6, 11), padding=((0, 0), (2, 2))),
    "1x1 window": _case((7, 4, 1, 1), (4, 5, 5), stride=(2, 2)),
    "1x1 map": _case((4, 3, 3, 3), (3, 1, 1), padding=((1, 1),)),
    "2x2 map, 7x7 window": _case((4, 3, 7, 7), (3, 2, 2), stride=(2, 2), padding=((3, 3),)),
    "only padding": _case((2, 2, 1, 1), (2, 1, 1), stride=(2, 2), padding=((1, 0), (1, 0))),
    "one-dimensional": _case((5, 3, 4), (3, 12), stride=(2,), padding=((1, 2),), dilation=(2,)),
    "reflect": _case((4, 3, 3, 3), (3, 6, 5), padding=((1, 1),), padding_mode="reflect"),
    "replicate": _case((4, 3, 5, 5), (3, 6, 5), stride=(2, 1), padding=((2, 2),), padding_mode="replicate"),
    "circular": _case((4, 3, 3, 3), (3, 6, 6), padding=((1, 1),), padding_mode="circular"),
    "circular, tiny": _case((4, 3, 5, 5), (3, 2, 3), padding=((2, 2),), padding_mode="circular"),
    "circular, strided": _case((4, 3, 3, 3), (3, 6, 7), stride=(2, 2), padding=((1, 2),), padding_mode="circular"),
}


def random_convolution(seed: int) -> ConvView:
    """A small convolution with every setting drawn: kernel, stride, dilation, groups, padding, mode, map size."""
    rng = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=rng))

    mode = ("zeros", "zeros", "zeros", "reflect", "replicate", "circular")[draw(0, 5)]
    groups = (1, 1, 1, 2)[draw(0, 3)]
    inputs, outputs = groups * draw(1, 3), groups * draw(1, 3)
    kernel, sizes, pads, dilations = [], [], [], []
    for _ in range(draw(1, 2)):
        k, n, d = draw(1, 4), draw(1, 9), draw(1, 2)
        most = {"reflect": n - 1, "circular": n}.get(mode, 4)
        before, after = min(draw(0, 3), most), min(draw(0, 3), most)
        while d * (k - 1) + 1 > n + before + after:
            k -= 1
        kernel.append(k), sizes.append(n), pads.append((before, after)), dilations.append(d)
    strides = tuple(draw(1, 3) for _ in kernel)
    weight = torch.randn(outputs, inputs // groups, *kernel, dtype=torch.float64, generator=rng)
    return ConvView(weight, (inputs, *sizes), strides, tuple(pads), tuple(dilations), groups, mode)


def random_dense(seed: int) -> DenseView:
    """A small linear layer: random, low-rank, scaled to extremes, or with zero rows; sometimes on tokens."""
    rng = torch.Generator().manual_seed(seed)
    h, d = (int(n) for n in torch.randint(1, 25, (2,), generator=rng))
    weight = torch.randn(h, d, dtype=torch.float64, generator=rng)
    if seed % 4 == 1:
        weight = weight[:, :1] @ weight[:1]
    if seed % 4 == 2:
        weight = weight * 10.0 ** float(torch.randint(-200, 100, (), generator=rng))
    if seed % 4 == 3:
        weight[torch.rand(h, generator=rng) < 0.5] = 0.0
    return DenseView(weight, (3, d) if seed % 5 == 0 else ())


@dataclass(frozen=True)
class Shape:
    """A convolution of ResNet-18 (He et al. 2016); `shrink` is the input's pixels per pixel of its input map."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    shrink: int

    def view(self, pixels: int) -> ConvView:
        """With normal weights, on the map it sees in a network with square inputs of `pixels`."""
        side = -(-pixels // self.shrink)
        weight = normal(self.outputs, self.inputs, self.kernel, self.kernel, seed=self.outputs + self.shrink)
        p = self.kernel // 2
        return ConvView(weight, (self.inputs, side, side), (self.stride,), ((p, p),))


def _resnet18() -> tuple[Shape, ...]:
    shapes = [Shape("conv1", 3, 64, 7, 2, 1)]
    width, shrink = 64, 4
    for stage in range(1, 5):
        for block in range(2):
            first = stage > 1 and block == 0
            inputs, stride = (width // 2, 2) if first else (width, 1)
            shapes.append(Shape(f"layer{stage}.{block}.conv1", inputs, width, 3, stride, shrink))
            if first:
                shapes.append(Shape(f"layer{stage}.{block}.downsample", inputs, width, 1, 2, shrink))
                shrink *= 2
            shapes.append(Shape(f"layer{stage}.{block}.conv2", width, width, 3, 1, shrink))
        width *= 2
    return tuple(shapes)


RESNET18 = _resnet18()
