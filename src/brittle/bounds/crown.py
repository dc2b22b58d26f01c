"""CROWN (Zhang et al. 2018): ranges of all nodes, then lower bounds of the margins `z_y - z_j`.

Legend: b inputs, K classes. A node that an activation reads gets its range from interval arithmetic first; where the
plan says so, coordinates that the activation bends are bounded again by pulling them back to the input, and the tighter
of both bounds holds. Later ranges rest on earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from brittle.bounds.crown_backward import Relaxation, lower_bounds
from brittle.bounds.crown_lines import is_two_piece, lines
from brittle.bounds.crown_plan import before_nonlinear
from brittle.bounds.crown_pool import pool_lines
from brittle.bounds.crown_region import EuclideanBall, Region, region
from brittle.bounds.ibp import Interval, l2_ranges, linear_norms, require_readable, source_interval, step
from brittle.errors import UsageError
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Reshape
from brittle.operators.pointwise import DiagonalView
from brittle.operators.view import size
from brittle.threats import Ball

# Entries of the largest block of rows that is pulled back at a time (2 MB in float64: it stays in the cache).
_BLOCK = 2**18


def crown_margins(graph: Graph, x: Tensor, y: Tensor, threat: Ball) -> Tensor:
    """Lower bounds of `z_y - z_j` over ball and pixel box, (b, K), inf in column y; every layer's ranges by CROWN.

    For l_2 the ball alone is used in the linear bounds.

    Args:
        graph: as read by `read_network`.
        x: pixels (b, *shape) in [0, 1].
        y: labels (b,).
        threat: the ball.

    Raises:
        ModelError: a node that could not be read.
        UsageError: pixels outside [0, 1], labels that are no classes.
    """
    require_readable(graph)
    check_labels(graph, x, y)
    with torch.no_grad():
        around = region(threat.norm, x, torch.full((len(x),), threat.epsilon, dtype=torch.float64))
        norms = linear_norms(graph) if isinstance(around, EuclideanBall) else {}
        return margin_bounds(relax(graph, around, frozenset(before_nonlinear(graph)), norms), y.cpu())


def relax(graph: Graph, around: Region, refine: frozenset[int], norms: Mapping[int, Tensor]) -> Relaxation:
    """Ranges of all nodes over the region, and linear bounds of the non-linear ones.

    Args:
        graph: without opaque nodes.
        around: the region.
        refine: nodes whose ranges come from CROWN too.
        norms: `linear_norms(graph)` for l_2 balls, else empty.
    """
    exact = l2_ranges(graph, around, norms) if isinstance(around, EuclideanBall) else {}
    known = frozenset(exact) if isinstance(around, EuclideanBall) else interval_exact(graph)
    result = Relaxation(graph, around, [], {}, [])
    for index, node in enumerate(graph.nodes):
        reads = [result.intervals[i] for i in node.inputs]
        interval = step(node, reads) if node.inputs else source_interval(around)
        if index in exact:
            interval = interval.intersect(*exact[index])
        extent = interval.size
        reach = torch.maximum(reads[0].lower.abs(), reads[0].upper.abs()).flatten(1).amax(1) if reads else extent
        if isinstance(node.op, Activation):
            bounds = lines(node.op, reads[0].lower, reads[0].upper)
            result.lines[index] = bounds
            extent = torch.maximum(extent, bounds.size(reach))
        if isinstance(node.op, MaxPool):
            shape = graph.nodes[node.inputs[0]].shape
            result.lines[index] = pool_lines(node.op, shape, reads[0].lower, reads[0].upper)
            extent = torch.maximum(extent, reach)
        result.intervals.append(interval)
        result.sizes.append(extent)
        if index in refine and index not in known:
            result.intervals[index] = _refined(result, index)
    return result


def margin_bounds(relaxation: Relaxation, y: Tensor) -> Tensor:
    """Lower bounds of `z_y - z_j`, (b, K), inf in column y."""
    classes = size(relaxation.graph.nodes[-1].shape)
    owner = torch.arange(len(y)).repeat_interleave(classes)
    other = torch.arange(classes).repeat(len(y))
    wanted = (other != y[owner]).nonzero()[:, 0]
    table = torch.full((len(y) * classes,), torch.inf, dtype=torch.float64)
    for part in wanted.split(_block(relaxation.graph)) if len(wanted) else ():
        rows = margin_rows(classes, y[owner[part]], other[part])
        table[part] = lower_bounds(relaxation, len(relaxation.graph.nodes) - 1, rows, owner[part])
    return table.view(len(y), classes)


def margin_rows(classes: int, y: Tensor, other: Tensor) -> Tensor:
    """`e_y - e_other`: labels (r,), classes (r,) -> rows (r, K)."""
    rows = torch.zeros(len(y), classes, dtype=torch.float64)
    rows[torch.arange(len(y)), other] = -1.0
    rows[torch.arange(len(y)), y] = 1.0
    return rows


def interval_exact(graph: Graph) -> frozenset[int]:
    """Nodes whose interval bounds are exact on a box: one affine map of nodes that depend on one pixel each."""
    separate = {0}
    exact: set[int] = set()
    for index, node in enumerate(graph.nodes):
        alone = bool(node.inputs) and separate.issuperset(node.inputs)
        if alone and (
            isinstance(node.op, Reshape) or (isinstance(node.op, Affine) and isinstance(node.op.view, DiagonalView))
        ):
            separate.add(index)
        if (alone and isinstance(node.op, Affine)) or (isinstance(node.op, Reshape) and exact.issuperset(node.inputs)):
            exact.add(index)
    return frozenset(exact)


def check_labels(graph: Graph, x: Tensor, y: Tensor) -> None:
    """Refuse labels that are not one class for each input, and inputs of another shape than the network's.

    Raises:
        UsageError: with what came.
    """
    classes, shape = size(graph.nodes[-1].shape), graph.nodes[0].shape
    if tuple(x.shape[1:]) != shape:
        raise UsageError(f"expected inputs of shape (n, {', '.join(map(str, shape))}), got {tuple(x.shape)}")
    if tuple(y.shape) != (len(x),) or (len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes):
        raise UsageError(
            f"expected {len(x)} labels from 0 to {classes - 1}, one for each input, got shape {tuple(y.shape)}"
        )


def _refined(relaxation: Relaxation, index: int) -> Interval:
    """The node's range with CROWN's bounds for the coordinates that its readers bend."""
    given = relaxation.intervals[index]
    owner, place = _bent(relaxation.graph, index, given).flatten(1).nonzero(as_tuple=True)
    lower, upper = given.lower.flatten(1).clone(), given.upper.flatten(1).clone()
    shape = relaxation.graph.nodes[index].shape
    if not len(owner):
        return given
    for part in torch.arange(len(owner)).split(max(1, _block(relaxation.graph) // 2)):
        rows = torch.zeros(2, len(part), size(shape), dtype=torch.float64)
        rows[0, torch.arange(len(part)), place[part]] = 1.0
        rows[1, torch.arange(len(part)), place[part]] = -1.0
        both = owner[part].repeat(2)
        low, high = lower_bounds(relaxation, index, rows.view(-1, *shape), both).split(len(part))
        lower[owner[part], place[part]] = torch.fmax(lower[owner[part], place[part]], low)
        upper[owner[part], place[part]] = torch.fmin(upper[owner[part], place[part]], -high)
    return Interval(lower.view_as(given.lower), upper.view_as(given.upper), given.size)


def _bent(graph: Graph, index: int, given: Interval) -> Tensor:
    """Coordinates that some reader does not treat linearly on the given range, (b, *shape) bool."""
    bent = torch.zeros_like(given.lower, dtype=torch.bool)
    for node in graph.nodes:
        if index in node.inputs and isinstance(node.op, Activation | MaxPool):
            two_piece = isinstance(node.op, Activation) and is_two_piece(node.op)
            here = (given.lower < 0) & (given.upper > 0) if two_piece else given.upper > given.lower
            bent = bent | here
    return bent


def _block(graph: Graph) -> int:
    """Rows that are pulled back together."""
    return max(1, _BLOCK // max(size(node.shape) for node in graph.nodes))
