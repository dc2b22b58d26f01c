"""How Square moves in the l_inf ball: windows of one colour per channel, at the ball's faces.

Legend: r rows, c channels, h x w pixels; all are (r, c, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.attacks.square_shapes import corner, covers, window


class LinfPainter:
    """Perturbations with every pixel at +-epsilon (Andriushchenko et al. 2020, Algorithm 2)."""

    def __init__(self, image: tuple[int, int, int], epsilon: float) -> None:
        self.image, self.epsilon = image, epsilon
        self.first_numbers = image[0] * image[2]
        self.numbers = 2 + image[0]

    def first(self, uniform: Tensor) -> Tensor:
        """Vertical stripes of width one, signs at random, from uniform numbers (r, first_numbers)."""
        c, h, w = self.image
        return self._colour(uniform.view(-1, c, 1, w)).expand(-1, c, h, w)

    def change(self, delta: Tensor, uniform: Tensor, share: float) -> Tensor:
        """One window over `share` of the pixels painted anew, from uniform numbers (r, numbers)."""
        c, h, w = self.image
        sides = window(share, h, w, 1)
        top, left = corner(uniform[:, 0], h - sides[0]), corner(uniform[:, 1], w - sides[1])
        painted = covers(top, left, sides, h, w)
        return torch.where(painted, self._colour(uniform[:, 2:].view(-1, c, 1, 1)), delta)

    def _colour(self, uniform: Tensor) -> Tensor:
        return torch.where(uniform < 0.5, -self.epsilon, self.epsilon).to(uniform)
