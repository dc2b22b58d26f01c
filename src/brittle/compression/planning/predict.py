"""What an assembled plan will score, from what its parts lost alone and what other assembled plans lost.

Legend: t trials; s the summed drops of a plan's parts in accuracy, d the drop measured when it was assembled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Trials count by how near their summed drop is to that of the plan: half at this distance (accuracy, as a fraction) or
# at this share of the plan's own drop, whichever is more.
_NEAR, _NEAR_SHARE = 0.02, 0.25
# How many trials the prior `d = s` weighs as much as.
_PRIOR = 0.5


def predicted_drop(summed: float, others: Sequence[tuple[float, float]]) -> float:
    """The drop of a plan whose parts lose `summed` together: parts add up less or more than their sum when assembled.

    A line `d = a + b s` through other trials, weighted least squares with the prior a = 0, b = 1; trials count

        w = 1 / (1 + ((s - s_plan) / h)^2),   h = max(0.02, s_plan / 4).

    Args:
        summed: s of the plan.
        others: (s, d) of trials, never of the plan itself.
    """
    near = max(_NEAR, _NEAR_SHARE * abs(summed))
    rows, wanted = [[_PRIOR**0.5, 0.0], [0.0, _PRIOR**0.5 * near]], [0.0, 0.0]
    for other, drop in others:
        weight = (1 + ((other - summed) / near) ** 2) ** -0.5  # the root: rows are squared
        rows.append([weight, weight * (other - summed)])
        wanted.append(weight * (drop - other))
    (offset, _), *_ = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)
    # The line is written about the plan: at s = s_plan only its offset from `d = s` is left.
    return float(summed + offset)
