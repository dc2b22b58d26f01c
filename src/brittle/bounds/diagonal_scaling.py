"""`min_{T > 0 diagonal} ||A T||_2 ||T^-1 B||_2`: how small the product of norms gets by rescaling hidden units.

`log ||A e^S||_2 + log ||e^-S B||_2` is convex in the diagonal S (it is the D-scaling of robust control), with gradient
`v_i^2 - u_i^2`, v and u the leading singular vectors on the hidden side. Every T gives a valid bound; the smallest
met is returned. Legend: A (m, h), B (h, n).
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.operators.rounding import UNIT, above, gram_norm

_STEPS = 80
_LEARNING_RATE = 0.2
# Beyond this width only two fixed scalings are tried: a step costs two eigendecompositions of (h, h).
_MAX_WIDTH = 512


def scaled_product(a: Tensor, b: Tensor) -> float:
    """An upper bound of the minimum, rounding included, never above `||A||_2 ||B||_2`; no row or column may be zero."""
    balanced = 0.5 * (b.norm(dim=1).log() - a.norm(dim=0).log())
    tried = [torch.zeros_like(balanced), balanced - balanced.mean()]
    if 1 < len(balanced) <= _MAX_WIDTH:
        tried += _descend(a.T @ a, b @ b.T, tried)
    return min(_bound(a, b, s) for s in tried)


def _descend(gram_a: Tensor, gram_b: Tensor, starts: list[Tensor]) -> list[Tensor]:
    """The best S met from each start, by Adam on the subgradient."""
    found = []
    for start in starts:
        s, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
        best, kept = torch.inf, start
        for step in range(1, _STEPS + 1):
            up, down = s.exp(), (-s).exp()
            value_a, vectors_a = torch.linalg.eigh(up[:, None] * gram_a * up)
            value_b, vectors_b = torch.linalg.eigh(down[:, None] * gram_b * down)
            value = float(value_a[-1] * value_b[-1])
            if value < best:
                best, kept = value, s.clone()
            gradient = vectors_a[:, -1].square() - vectors_b[:, -1].square()
            mean = 0.8 * mean + 0.2 * gradient
            square = 0.95 * square + 0.05 * gradient.square()
            size = _LEARNING_RATE * (1 - step / (_STEPS + 1))
            direction = (mean / (1 - 0.8**step)) / ((square / (1 - 0.95**step)).sqrt() + 1e-12)
            s = s - size * direction
            s = s - s.mean()
        found.append(kept)
    return found


def _bound(a: Tensor, b: Tensor, s: Tensor) -> float:
    t = s.exp()
    left, right = a * t, b / t[:, None]
    # each entry of A T and T^-1 B is rounded once
    sides = [gram_norm(side) + 2 * UNIT * float(side.norm()) for side in (left, right)]
    return above(sides[0] * sides[1], 4)
