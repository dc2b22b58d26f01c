"""How high to fill capped coordinates until they lift a linear function by a given amount.

Legend: b rows, d coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor


def level(slopes: Tensor, caps: Tensor, rise: Tensor) -> Tensor:
    """The smallest t with `sum_i slopes_i min(t, caps_i) = rise`, infinite where even t = inf falls short, (b,).

    The sum is concave and piecewise linear in t with its corners at the caps, so sorting them finds t exactly.

    Args:
        slopes: (b, d) >= 0.
        caps: (b, d) >= 0, finite.
        rise: (b,) >= 0.
    """
    caps, order = caps.sort(dim=1)
    slopes = slopes.gather(1, order)
    full = slopes * caps
    # Before corner j the first j coordinates are full; the others still grow. Tails are summed from their own end.
    before = full.cumsum(1) - full
    growing = slopes.flip(1).cumsum(1).flip(1)
    corner = torch.searchsorted((before + caps * growing).cummax(1).values, rise[:, None])
    at = corner.clamp(max=caps.shape[1] - 1)
    found = (rise[:, None] - before.gather(1, at)) / growing.gather(1, at).clamp_min(torch.finfo(caps.dtype).tiny)
    return torch.where(corner < caps.shape[1], found.clamp_min(0.0), torch.inf)[:, 0]
