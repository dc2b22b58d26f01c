"""Linear functionals of a node pulled back to the input: the step that all of CROWN (Zhang et al. 2018) repeats.

Legend: b inputs, r rows (functionals), owner[i] the input that row i belongs to; rows at a node are (r, *shape).

The invariant, for real numbers and every admissible input, is

    <row, value of the start>  >=  sum over open nodes <A_n, v_n> + constant - debt.

Each node in turn is replaced by what it reads: affine maps by their adjoint, activations and poolings by their linear
bounds. `debt` pays for rounding. Pulling A through node n in float64 errs by at most gamma(k) |A| times the magnitudes
that enter there, coordinate by coordinate; with `size_n` the largest of them, `2 gamma(k_n) ||A||_1 size_n` covers it,
where k_n counts the node's terms, its coordinates (the constant's sum), and one addition for each node of the graph
(rows that meet at a fork, partial sums of the constant). The 2 pays for the roundings of the debt itself. For an affine
node size is `max (|T| |v| + |bias|)`: |T^t| |A| . |v| = |A| . |T| |v|. Underflow is left out, as usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.bounds.crown_lines import Lines
from brittle.bounds.crown_pool import PoolLines
from brittle.bounds.crown_region import Region
from brittle.bounds.ibp import Interval
from brittle.operators.graph import Affine, Graph, Reshape, Sum
from brittle.operators.rounding import gamma
from brittle.operators.view import size


@dataclass(frozen=True)
class Relaxation:
    """A network on a region with the range of every node and linear bounds of the non-linear ones.

    `sizes[n]` (b,) bounds the magnitudes that enter node n's arithmetic. The lists grow while ranges are being found.
    """

    graph: Graph
    region: Region
    intervals: list[Interval]
    lines: dict[int, Lines | PoolLines]
    sizes: list[Tensor]


def lower_bounds(
    relaxation: Relaxation, start: int, rows: Tensor, owner: Tensor, slopes: Mapping[int, Tensor] | None = None
) -> Tensor:
    """Lower bounds (r,) of `<rows, value of node start>` over the region, rounding included.

    Args:
        relaxation: complete for all nodes before `start`.
        start: the node that the functionals act on.
        rows: (r, *shape of start).
        owner: (r,) int64, the input of each row.
        slopes: other lower slopes of two-piece activations, node -> (r, *shape), each within its free range.
    """
    nodes = relaxation.graph.nodes
    pending = {start: rows}
    constant, debt = rows.new_zeros(len(rows)), rows.new_zeros(len(rows))
    for index in range(start, -1, -1):
        a = pending.pop(index, None)
        if a is None:
            continue
        node = nodes[index]
        terms = size(node.shape) + len(nodes) + 16 + (node.op.view.terms if isinstance(node.op, Affine) else 0)
        debt = (
            debt
            + 2 * gamma(terms) * torch.linalg.vector_norm(a.flatten(1), ord=1, dim=1) * relaxation.sizes[index][owner]
        )
        pulled: tuple[Tensor, ...] = ()
        match node.op:
            case Affine(view, bias):
                pulled = (view.adjoint(a),)
                if bias is not None:
                    constant = constant + (a * bias).flatten(1).sum(1)
            case Reshape():
                pulled = (a.reshape(len(a), *nodes[node.inputs[0]].shape),)
            case Sum(signs):
                pulled = tuple(a if sign == 1.0 else sign * a for sign in signs)
            case _ if not node.inputs:
                constant = constant + relaxation.region.minimum(a, owner)
            case _:
                back, offset = _pull(relaxation.lines[index], a, owner, None if slopes is None else slopes.get(index))
                pulled, constant = (back,), constant + offset
        for source, part in zip(node.inputs, pulled, strict=True):
            pending[source] = pending[source] + part if source in pending else part
    return constant - debt


def _pull(lines: Lines | PoolLines, a: Tensor, owner: Tensor, chosen: Tensor | None) -> tuple[Tensor, Tensor]:
    """Minimise: a positive entry takes the lower line, a negative one the upper line."""
    if isinstance(lines, PoolLines):
        return lines.pull(a, owner)
    positive = a > 0
    slope = lines.lower_slope[owner]
    if chosen is not None and lines.free is not None:
        slope = torch.where(lines.free[owner], chosen, slope)
    back = torch.where(positive, slope, lines.upper_slope[owner]) * a
    if lines.lower_offset is None:
        offset = a.clamp(max=0.0) * lines.upper_offset[owner]
    else:
        offset = torch.where(positive, lines.lower_offset[owner], lines.upper_offset[owner]) * a
    return back, offset.flatten(1).sum(1)
