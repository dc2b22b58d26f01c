"""The parts of a small vision transformer (Dosovitskiy et al., 2021): tokens, positions, attention, encoder blocks.

Legend: b batch, n tokens, d width of a token, c channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.models.activations import activation as new_activation
from brittle.models.layers import linear


class Tokens(nn.Module):
    """The patches' channels as a sequence: (b, d, height, width) -> (b, height * width, d), row by row."""

    def forward(self, x: Tensor) -> Tensor:
        """Flatten the image plane, then put the channels last."""
        return x.flatten(2).transpose(1, 2)


class Positions(nn.Module):
    """A learned vector added to each token, after `extra` tokens of zeros in front: (b, n, d) -> (b, extra + n, d).

    The vector of an extra token is that token: a class token and its position would only ever occur as their sum.
    """

    def __init__(self, tokens: int, dim: int, extra: int) -> None:
        super().__init__()
        self.extra = extra
        self.weight = nn.Parameter(torch.empty(extra + tokens, dim))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Pad in front, then add."""
        return nn.functional.pad(x, (0, 0, self.extra, 0)) + self.weight


class Attention(nn.Module):
    """Multi-head dot-product attention; "q", "k", "v" and "proj" are layers of their own, so each has its structure.

    `softmax(q k^t / sqrt(d / heads)) v` for each head, heads joined and projected. It has no global Lipschitz constant
    (Kim et al., 2021). Written with plain products: those can be differentiated twice on every device.
    """

    def __init__(self, dim: int, heads: int, ranks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.q = linear(dim, dim, rank=ranks[0])
        self.k = linear(dim, dim, rank=ranks[1])
        self.v = linear(dim, dim, rank=ranks[2])
        self.proj = linear(dim, dim, rank=ranks[3])

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        q, k, v = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """`x + attention(norm1(x))`, then `x + fc2(act(fc1(norm2(x))))`: the layer norms come first (pre-norm).

    `ranks` are those of q, k, v, proj, fc1, fc2 (0: dense); dropout stands at the end of both branches.
    """

    def __init__(
        self, dim: int, hidden: int, *, heads: int, activation: str, dropout: float, ranks: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, (ranks[0], ranks[1], ranks[2], ranks[3]))
        self.norm2 = nn.LayerNorm(dim)
        self.fc1 = linear(dim, hidden, rank=ranks[4])
        self.act = new_activation(activation)
        self.fc2 = linear(hidden, dim, rank=ranks[5])
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        x = x + self.drop(self.attention(self.norm1(x)))
        return x + self.drop(self.fc2(self.act(self.fc1(self.norm2(x)))))


class MeanToken(nn.Module):
    """The mean over all tokens: (b, n, d) -> (b, d)."""

    extra = 0

    def forward(self, x: Tensor) -> Tensor:
        """Average."""
        return x.mean(1)


class ClassToken(nn.Module):
    """The first token, which belongs to no patch: (b, n, d) -> (b, d)."""

    extra = 1

    def forward(self, x: Tensor) -> Tensor:
        """Select."""
        return x[:, 0]


# How the tokens become one vector; `extra` is the number of tokens that it needs beside the patches.
POOLINGS: dict[str, type[MeanToken] | type[ClassToken]] = {"mean": MeanToken, "class": ClassToken}
