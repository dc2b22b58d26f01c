"""Nets with their bodies, and their second moments formed entry by entry in float64: the reference for directions."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.models.blocks import BasicBlock
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.pixels import Pixels
from tests.operators.nets import Step, settled


def pixels(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def jacobians(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(n, D, d) in float64, sample by sample."""
    rows = [torch.autograd.functional.jacobian(lambda one: function(one).flatten(), s[None]) for s in x]
    return torch.stack([row.reshape(row.shape[0], -1) for row in rows]).detach()


def moment(function: nn.Module, x: Tensor) -> Tensor:
    """`mean_x J^T J` (d, d), of a float64 copy."""
    j = jacobians(copy.deepcopy(function).double().eval(), x.double())
    return torch.einsum("nji,njk->ik", j, j) / len(x)


def eigen(a: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues from the largest down, eigenvectors as rows."""
    values, vectors = torch.linalg.eigh(a)
    return values.flip(0), vectors.flip(1).T


def overlap(first: Tensor, second: Tensor) -> float:
    """The smallest cosine of the principal angles between two row spaces; 1 where they agree."""
    a, b = (torch.linalg.qr(rows.flatten(1).double().T)[0] for rows in (first, second))
    return float(torch.linalg.svdvals(a.T @ b).min())


class Attention(nn.Module):
    """Attention with one head, by the framework's fused function: its fast kernels cannot be differentiated twice."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x[:, None]
        return F.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0]


class Joined(nn.Module):
    """Body, then head, as a model is written by hand."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


def joined(body: nn.Module, shape: tuple[int, ...], head: Callable[[int], nn.Module] | None = None) -> Joined:
    """Random weights and batch norm statistics, in eval mode."""
    width = body.eval()(torch.zeros(2, *shape)).flatten(1).shape[1]
    made = Joined(body, nn.Linear(width, 4) if head is None else head(width))
    settled(made)
    return made


def _flattening(pool: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), pool)


# name -> (a function that makes the net, input shape); `made.body` is the map to the representation.
NETS: dict[str, tuple[Callable[[], Joined], tuple[int, ...]]] = {
    "batch norm, stride, groups": (
        lambda: joined(
            nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2)),
            (2, 8, 7),
        ),
        (2, 8, 7),
    ),
    "dilated, transposed sizes, padding by name": (
        lambda: joined(
            nn.Sequential(
                nn.Conv2d(1, 3, (3, 2), padding="same", dilation=(1, 2)),
                nn.ReLU(),
                nn.Conv2d(3, 3, (1, 3), stride=(2, 3), padding=(1, 2)),
                nn.ReLU(),
                nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"),
            ),
            (1, 6, 8),
        ),
        (1, 6, 8),
    ),
    "residual": (
        lambda: joined(
            nn.Sequential(
                BasicBlock(
                    2,
                    4,
                    inner=3,
                    stride=2,
                    shortcut="conv",
                    batch_norm=True,
                    activation="relu",
                    ranks=(0, 2),
                ),
                Step(lambda z: z + F.relu(z).square()),
            ),
            (2, 6, 6),
        ),
        (2, 6, 6),
    ),
    "max pooling, then average": (
        lambda: joined(
            nn.Sequential(_flattening(nn.MaxPool2d(3, 2, 1)), nn.AdaptiveAvgPool2d(2)),
            (2, 8, 8),
            lambda w: nn.Linear(w, 3),
        ),
        (2, 8, 8),
    ),
    "low rank": (
        lambda: joined(
            nn.Sequential(LowRankConv2d(2, 6, 3, 2), nn.ReLU(), nn.Flatten(), LowRankLinear(96, 20, 5), nn.ReLU()),
            (2, 6, 6),
            lambda w: LowRankLinear(w, 6, 3),
        ),
        (2, 6, 6),
    ),
    "normalised inside, in place": (
        lambda: joined(
            nn.Sequential(Pixels(0.4, 0.3, nn.Conv1d(2, 5, 3, padding=1)), nn.BatchNorm1d(5), nn.ReLU(inplace=True)),
            (2, 9),
        ),
        (2, 9),
    ),
    "volumes": (
        lambda: joined(nn.Sequential(nn.Conv3d(1, 3, 2), nn.BatchNorm3d(3), nn.ReLU()), (1, 3, 4, 3)),
        (1, 3, 4, 3),
    ),
    "attention": (lambda: joined(nn.Sequential(nn.Linear(6, 8), nn.GELU(), Attention()), (5, 6)), (5, 6)),
}
