"""The shapes Square paints with: windows, how large they are, and the profile of the l_2 ones.

Legend: r rows, c channels, h x w pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.errors import UsageError

# Queries out of 10 000 after which the share of painted pixels is halved (Andriushchenko et al. 2020, section 5).
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_SCHEDULE = 10_000


def as_image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """One sample's shape as channels, height and width: vectors (d,) are one row, matrices (h, w) have one channel.

    Raises:
        UsageError: a shape that is neither a vector nor an image.
    """
    if not 1 <= len(shape) <= 3:
        raise UsageError(f"Square paints vectors (d,) and images (h, w) or (c, h, w), got samples of shape {shape}")
    c, h, w = (1,) * (3 - len(shape)) + tuple(shape)
    return c, h, w


def share_at(query: int, queries: int, first: float) -> float:
    """The share of pixels painted at `query` of `queries`: `first`, halved on the paper's schedule, rescaled."""
    at = query * _SCHEDULE // queries
    return first / 2.0 ** sum(at > halving for halving in _HALVINGS)


def window(share: float, h: int, w: int, smallest: int) -> tuple[int, int]:
    """Sides of a window over `share` of the pixels: a square, or in a single row a strip.

    Not below `smallest` and not the whole side, where the image leaves that choice.
    """
    if h == 1:
        return 1, min(max(round(share * w), smallest), max(w - 1, 1))
    side = min(max(round((share * h * w) ** 0.5), smallest), max(min(h, w) - 1, 1))
    return side, side


def corner(uniform: Tensor, free: int) -> Tensor:
    """A corner 0 ... `free` from uniform numbers in [0, 1], (r,) -> (r,) int64."""
    return (uniform * (free + 1)).long().clamp(0, free)


def covers(top: Tensor, left: Tensor, sides: tuple[int, int], h: int, w: int) -> Tensor:
    """Which pixels lie in each row's window with upper left corner (top, left), (r, 1, h, w) bool."""
    rows, columns = torch.arange(h, device=top.device), torch.arange(w, device=top.device)
    inside_rows = (rows >= top[:, None]) & (rows < top[:, None] + sides[0])
    inside_columns = (columns >= left[:, None]) & (columns < left[:, None] + sides[1])
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]


def profile(h: int, w: int) -> Tensor:
    """The profile eta of an h x w window, (h, w) float64 of length one: a bump up beside a bump down.

    A bump is largest in its centre: a pixel at distance D (in king's moves) from it has `sum_{k=D}^{n} 1 / (k + 1)^2`,
    n the largest such distance (Andriushchenko et al. 2020, section 4.3). A window one pixel wide has one bump.
    """
    eta = torch.cat([_bump(h, w // 2), -_bump(h, w - w // 2)], dim=1) if w > 1 else _bump(h, w)
    return eta / eta.norm()


def _bump(h: int, w: int) -> Tensor:
    rows, columns = (torch.arange(h) - h // 2).abs(), (torch.arange(w) - w // 2).abs()
    moves = torch.maximum(rows[:, None], columns[None, :])
    rings = 1.0 / torch.arange(1, int(moves.max()) + 2, dtype=torch.float64) ** 2
    return rings.flip(0).cumsum(0).flip(0)[moves]
