"""alpha-CROWN (Xu et al. 2021) for the margins: the lower slopes of ReLUs are chosen by gradient ascent on the bound.

Any slope in [a, 1] through 0 is below `max(v, a v)` where the range crosses 0, so every iterate is a valid bound and
the best one met is kept. The ranges inside the network stay CROWN's; only the margins' own slopes are optimised, each
margin with slopes of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.bounds.crown import check_labels, margin_bounds, margin_rows, relax
from brittle.bounds.crown_backward import Relaxation, lower_bounds
from brittle.bounds.crown_lines import Lines
from brittle.bounds.crown_plan import before_nonlinear
from brittle.bounds.crown_region import EuclideanBall, region
from brittle.bounds.ibp import linear_norms, require_readable
from brittle.errors import UsageError
from brittle.operators.graph import Graph
from brittle.operators.view import size
from brittle.threats import Ball

_RATE = 0.1
_DECAY = 0.97
# Entries of all slopes of a block of margins: Adam keeps three numbers for each.
_BLOCK = 2**21


def alpha_crown(graph: Graph, x: Tensor, y: Tensor, threat: Ball, *, steps: int = 20) -> Tensor:
    """Lower bounds of `z_y - z_j` over ball and pixel box, (b, K), inf in column y; never below CROWN's.

    Margins that CROWN already shows to be positive are not improved.

    Raises:
        ModelError: a node that could not be read.
        UsageError: steps < 0, pixels outside [0, 1], labels that are no classes.
    """
    require_readable(graph)
    check_labels(graph, x, y)
    around = region(threat.norm, x, torch.full((len(x),), threat.epsilon, dtype=torch.float64))
    with torch.no_grad():
        norms = linear_norms(graph) if isinstance(around, EuclideanBall) else {}
        relaxation = relax(graph, around, frozenset(before_nonlinear(graph)), norms)
        table = margin_bounds(relaxation, y.cpu())
    return improved(relaxation, y.cpu(), table, steps)


def improved(relaxation: Relaxation, y: Tensor, table: Tensor, steps: int) -> Tensor:
    """The margins' bounds `table` (b, K) with those <= 0 raised by `steps` steps of Adam on their slopes.

    Raises:
        UsageError: steps < 0.
    """
    if steps < 0:
        raise UsageError(f"expected steps >= 0, got {steps}")
    out = table.clone()
    owner, other = (table <= 0).nonzero(as_tuple=True)
    free = {i: b for i, b in relaxation.lines.items() if isinstance(b, Lines) and b.free is not None}
    if steps == 0 or not free or not len(owner):
        return out
    block = max(1, _BLOCK // sum(size(relaxation.graph.nodes[i].shape) for i in free))
    for part in torch.arange(len(owner)).split(block):
        rows = margin_rows(table.shape[1], y[owner[part]], other[part])
        best = _ascend(relaxation, rows, owner[part], free, steps)
        out[owner[part], other[part]] = torch.fmax(table[owner[part], other[part]], best)
    return out


def _ascend(relaxation: Relaxation, rows: Tensor, owner: Tensor, free: dict[int, Lines], steps: int) -> Tensor:
    """The best lower bound (r,) met from the adaptive slopes on."""
    last = len(relaxation.graph.nodes) - 1
    best = torch.full((len(rows),), -torch.inf, dtype=torch.float64)
    with torch.enable_grad():
        slopes = {i: lines.lower_slope[owner].clone().requires_grad_(True) for i, lines in free.items()}
        optimiser = torch.optim.Adam(slopes.values(), lr=_RATE)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, _DECAY)
        for _ in range(steps):
            bounds = lower_bounds(relaxation, last, rows, owner, slopes)
            best = torch.fmax(best, bounds.detach())
            optimiser.zero_grad(set_to_none=True)
            (-bounds.sum()).backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                for i, slope in slopes.items():
                    slope.clamp_(free[i].free_low, free[i].free_high)
    with torch.no_grad():
        return torch.fmax(best, lower_bounds(relaxation, last, rows, owner, slopes))
