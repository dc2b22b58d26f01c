"""Gradient ascent on the Jacobian norm through softened ReLUs: good starting points for the Jacobian search.

A ReLU network's Jacobian does not change inside a piece. With `w softplus(y / w)` in place of each ReLU, w a small
share of the layer's root mean square at that input, its slopes do, and the gradient of `u^T J(x) v` (u, v the real
Jacobian's leading pair) says which way to leave the piece. Norms are always those of the real network.

Legend: b inputs, n coordinates, K logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from brittle.operators.graph import Activation, Graph, Node

_WIDTH = 0.03
_STEP = 0.1

# From Jacobians (b, K, n): the norms (b,), and the u (b, K) and v (b, n) with u^T J v = norm.
Leading = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


def leading_linf(jacobians: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`||J||_inf`: u picks the row with the largest l_1 norm, v its signs."""
    sums = jacobians.abs().sum(2)
    rows = sums.argmax(1)
    v = jacobians[torch.arange(len(rows)), rows].sign()
    return sums.amax(1), F.one_hot(rows, jacobians.shape[1]).to(jacobians), v


def leading_l2(jacobians: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`||J||_2` and its singular vectors, by the Gram matrix of the rows."""
    values, vectors = torch.linalg.eigh(jacobians @ jacobians.mT)
    norms, u = values[:, -1].clamp_min(0).sqrt(), vectors[:, :, -1]
    v = (u[:, None] @ jacobians)[:, 0] / norms.clamp_min(1e-300)[:, None]
    return norms, u, v


LEADING: dict[str, Leading] = {"linf": leading_linf, "l2": leading_l2}


def softened(graph: Graph) -> Graph | None:
    """The graph with soft ReLUs, or None where it has no ReLU or cannot be evaluated."""
    kinds = {node.op.kind for node in graph.nodes if isinstance(node.op, Activation)}
    if "relu" not in kinds or graph.problems():
        return None
    return Graph(tuple(_soft(node) for node in graph.nodes))


def _soft(node: Node) -> Node:
    if isinstance(node.op, Activation) and node.op.kind == "relu":
        return replace(node, op=replace(node.op, function=soft_relu))
    return node


def soft_relu(y: Tensor) -> Tensor:
    """`w softplus(y / w)`, w a fixed share of each sample's root mean square."""
    width = _WIDTH * y.detach().flatten(1).square().mean(1).sqrt().clamp_min(1e-12)
    width = width.view(-1, *([1] * (y.dim() - 1)))
    return width * F.softplus(y / width)


def ascend(
    soft: Graph, jacobians: Callable[[Tensor], Tensor], x: Tensor, leading: Leading, steps: int, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """The best input and norm of each climber: (b, *shape) and (b,).

    Args:
        soft: as made by `softened`.
        jacobians: of the real network, (b, *shape) -> (b, K, n).
        x: (b, *shape) starting points, float64.
        leading: of the norm, from `LEADING`.
        steps: of ascent, each a share of the input's length that falls to zero.
        low: smallest coordinate allowed.
        high: largest coordinate allowed.
    """
    best_x, best = x.clone(), torch.zeros(len(x), dtype=x.dtype)
    for step in range(steps + 1):
        norms, u, v = leading(jacobians(x))
        better = norms > best
        best = torch.where(better, norms, best)
        best_x[better] = x[better]
        gradient = _gradient(soft, x, u, v).flatten(1)
        lengths = x.flatten(1).norm(dim=1, keepdim=True).clamp_min(1e-3)
        move = lengths * gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-300)
        x = (x + _STEP * (1 - step / (steps + 1)) * move.view_as(x)).clamp(low, high)
    return best_x, best


def _gradient(soft: Graph, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The derivative of `u^T J(x) v` for the soft network."""
    point = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        value = (soft.evaluate(point)[-1] * u).sum()
        (row,) = torch.autograd.grad(value, point, create_graph=True)
        (gradient,) = torch.autograd.grad((row.flatten(1) * v).sum(), point)
    return gradient
