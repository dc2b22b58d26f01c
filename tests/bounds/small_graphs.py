"""Small graphs made by hand, and points of their regions: what the local certificates are tried on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from brittle.operators.activations import Slopes
from brittle.operators.conv import ConvView
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Node, Reshape, Source, Sum
from brittle.operators.linear import DenseView
from brittle.operators.pointwise import AvgPoolView, DiagonalView

ACTIVATIONS: dict[str, tuple[Slopes, Callable[[Tensor], Tensor]]] = {
    "relu": (Slopes(0.0, 1.0), torch.relu),
    "leaky_relu": (Slopes(0.2, 1.0), lambda v: F.leaky_relu(v, 0.2)),
    "abs": (Slopes(-1.0, 1.0), torch.abs),
    "tanh": (Slopes(0.0, 1.0), torch.tanh),
    "sigmoid": (Slopes(0.0, 0.25), torch.sigmoid),
    "gelu": (Slopes(-0.1290, 1.1290), F.gelu),
    "softplus": (Slopes(0.0, 1.0), F.softplus),
    "relu6": (Slopes(0.0, 1.0), F.relu6),
}


def activation(kind: str) -> Activation:
    slopes, function = ACTIVATIONS[kind]
    return Activation(kind, slopes, function)


def mlp_weights(seed: int, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(n, m, dtype=torch.float64, generator=rng) / m**0.5 * 1.5,
            0.3 * torch.randn(n, dtype=torch.float64, generator=rng),
        )
        for m, n in pairwise(sizes)
    ]


def mlp(weights: Sequence[tuple[Tensor, Tensor]], kind: str = "relu") -> Graph:
    nodes = [Node("input", Source(), (), (weights[0][0].shape[1],))]
    for number, (weight, bias) in enumerate(weights):
        nodes.append(Node(f"fc{number}", Affine(DenseView(weight), bias), (len(nodes) - 1,), (len(weight),)))
        if number < len(weights) - 1:
            nodes.append(Node("", activation(kind), (len(nodes) - 1,), (len(weight),)))
    return Graph(tuple(nodes))


def residual(seed: int, kind: str = "relu", pool: bool = True) -> Graph:
    """Scale, convolution, activation, a signed residual sum, max or average pooling, flatten, head of 3 classes."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=rng)

    first = ConvView(normal(3, 2, 3, 3) / 3, (2, 5, 5), padding=((1, 1),))
    second = ConvView(normal(3, 3, 3, 3) / 4, (3, 5, 5), padding=((1, 1),))
    pooling = MaxPool((2, 2), (2, 2), (1, 1), (1, 1), False)
    average = Affine(AvgPoolView((3, 5, 5), (2, 2), (2, 2), (1, 1)), None)
    nodes = (
        Node("input", Source(), (), (2, 5, 5)),
        Node("scale", Affine(DiagonalView(normal(2, 1, 1), (2, 5, 5)), normal(2, 1, 1)), (0,), (2, 5, 5)),
        Node("conv1", Affine(first, normal(3, 1, 1)), (1,), (3, 5, 5)),
        Node("act1", activation(kind), (2,), (3, 5, 5)),
        Node("conv2", Affine(second, None), (3,), (3, 5, 5)),
        Node("sum", Sum((1.0, -0.5)), (4, 3), (3, 5, 5)),
        Node("pool", pooling if pool else average, (5,), (3, 3, 3)),
        Node("act2", activation(kind), (6,), (3, 3, 3)),
        Node("flat", Reshape(), (7,), (27,)),
        Node("head", Affine(DenseView(normal(3, 27) / 3), normal(3)), (8,), (3,)),
    )
    return Graph(nodes)


def inputs(graph: Graph, seed: int, n: int = 3) -> Tensor:
    """Pixels, some of them at the ends of [0, 1]."""
    rng = torch.Generator().manual_seed(seed)
    return (1.4 * torch.rand(n, *graph.nodes[0].shape, dtype=torch.float64, generator=rng) - 0.2).clamp(0, 1)


def points(x: Tensor, norm: str, epsilon: float, seed: int, n: int = 200) -> Tensor:
    """Admissible points around each x, (n, b, *shape): corners and inner points of the box, sphere and ball."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, *x.shape, dtype=torch.float64, generator=rng)
    if norm == "linf":
        delta = (
            torch.where(torch.arange(n).view(-1, *[1] * x.dim()) % 2 == 0, noise.sign(), noise.clamp(-1, 1)) * epsilon
        )
    else:
        unit = noise / noise.flatten(2).norm(dim=2).view(n, -1, *[1] * (x.dim() - 1))
        delta = unit * epsilon * (1 - 1e-12) * torch.rand(n, *[1] * x.dim(), dtype=torch.float64, generator=rng) ** 0.1
    return (x + delta).clamp(0, 1)
