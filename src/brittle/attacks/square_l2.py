"""How Square moves in the l_2 ball: mass is taken from one window and put into another.

Legend: r rows, c channels, h x w pixels; all are (r, c, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.attacks.square_shapes import corner, covers, profile, window

# Tiles along each side of the first perturbation, and the smallest window with a profile worth the name.
_TILES = 5
_SMALLEST = 3
_TINY = 1e-12


class L2Painter:
    """Perturbations of full length made of windows with the profile eta (Andriushchenko et al. 2020, Algorithm 3)."""

    def __init__(self, image: tuple[int, int, int], epsilon: float) -> None:
        self.image, self.epsilon = image, epsilon
        c, h, w = image
        self.tile = max(h // _TILES, 1), max(w // _TILES, 1)
        self.first_numbers = c * (h // self.tile[0]) * (w // self.tile[1])
        self.numbers = 5 + c

    def first(self, uniform: Tensor) -> Tensor:
        """A grid of tiles with signs at random, from uniform numbers (r, first_numbers)."""
        c, h, w = self.image
        tall, wide = h // self.tile[0], w // self.tile[1]
        signs = _sign(uniform.view(-1, c, tall, wide)).repeat_interleave(self.tile[0], 2)
        tiles = signs.repeat_interleave(self.tile[1], 3) * profile(*self.tile).to(uniform).repeat(tall, wide)
        delta = uniform.new_zeros(len(uniform), c, h, w)
        top, left = (h - tiles.shape[2]) // 2, (w - tiles.shape[3]) // 2
        delta[:, :, top : top + tiles.shape[2], left : left + tiles.shape[3]] = tiles
        return self._full(delta)

    def change(self, delta: Tensor, uniform: Tensor, share: float) -> Tensor:
        """The mass of two windows over `share` of the pixels, and what the box cost before, moved into the first."""
        c, h, w = self.image
        sides = window(share, h, w, _SMALLEST)
        places = [corner(uniform[:, i], (h, w)[i % 2] - sides[i % 2]) for i in range(4)]
        old = delta.gather(2, self._rows(places[0], sides)).gather(3, self._columns(places[1], sides))
        second = covers(places[2], places[3], sides, h, w)
        mass = (delta * (second | covers(places[0], places[1], sides, h, w))).square().sum((2, 3), keepdim=True)
        unused = (self.epsilon**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp_min(0.0)
        new = self._profiles(uniform[:, 4], sides) * _sign(uniform[:, 5:]).view(-1, c, 1, 1)
        new = new + old / old.square().sum((2, 3), keepdim=True).sqrt().clamp_min(_TINY)
        new = new / new.square().sum((2, 3), keepdim=True).sqrt().clamp_min(_TINY) * (mass + unused / c).sqrt()
        return self._full(self._put(delta.masked_fill(second, 0.0), new, places, sides))

    def _profiles(self, uniform: Tensor, sides: tuple[int, int]) -> Tensor:
        """eta, or in half of the rows its transpose, (r, 1, *sides); strips have no transpose."""
        eta = profile(*sides).to(uniform)
        if sides[0] != sides[1]:
            return eta.expand(len(uniform), 1, *sides)
        return torch.where((uniform < 0.5).view(-1, 1, 1, 1), eta, eta.T)

    def _put(self, delta: Tensor, new: Tensor, places: list[Tensor], sides: tuple[int, int]) -> Tensor:
        """`delta` with `new` (r, c, *sides) in the first window."""
        rows = delta.gather(2, self._rows(places[0], sides))
        rows = rows.scatter(3, self._columns(places[1], sides), new)
        return delta.scatter(2, self._rows(places[0], sides), rows)

    def _rows(self, top: Tensor, sides: tuple[int, int]) -> Tensor:
        """Indices of the window's rows, (r, c, sides[0], w)."""
        index = top[:, None] + torch.arange(sides[0], device=top.device)
        return index[:, None, :, None].expand(-1, self.image[0], -1, self.image[2])

    def _columns(self, left: Tensor, sides: tuple[int, int]) -> Tensor:
        """Indices of the window's columns, (r, c, *sides)."""
        index = left[:, None] + torch.arange(sides[1], device=left.device)
        return index[:, None, None, :].expand(-1, self.image[0], sides[0], -1)

    def _full(self, delta: Tensor) -> Tensor:
        length = delta.square().sum((1, 2, 3), keepdim=True).sqrt()
        return delta / length.clamp_min(_TINY) * self.epsilon


def _sign(uniform: Tensor) -> Tensor:
    return torch.where(uniform < 0.5, -1.0, 1.0).to(uniform)
