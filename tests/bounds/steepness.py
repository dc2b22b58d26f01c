"""How steep a network really is: slopes between points and of Jacobians, in float64, from its graph's values alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from brittle.operators.graph import Graph
from tests.operators.nets import graph_of

LENGTHS = {"linf": lambda v: v.flatten(1).abs().amax(1), "l2": lambda v: v.flatten(1).norm(dim=1)}


@dataclass(frozen=True)
class Steepness:
    """The largest slope met: of the logits in the same norm, and of each difference z_j - z_k, (K, K)."""

    whole: float
    pairs: Tensor


def _logits(graph: Graph, x: Tensor) -> Tensor:
    return graph.evaluate(x)[-1].flatten(1)


def steepness(graph: Graph, norm: str, seed: int = 0) -> Steepness:
    """Over pairs of points near and far, and along the steepest directions of Jacobians at random inputs."""
    rng = torch.Generator().manual_seed(seed)
    shape, n = graph.nodes[0].shape, 24
    a = torch.randn(n, *shape, dtype=torch.float64, generator=rng)
    noise = torch.randn(n, *shape, dtype=torch.float64, generator=rng)
    random = noise.sign() if norm == "linf" else noise
    length = torch.tensor([1e-3, 0.3, 3.0], dtype=torch.float64).repeat(n // 3).view(-1, *[1] * len(shape))
    starts, ends = [a], [a + length * random]
    for point in a[:3]:
        jacobian = torch.autograd.functional.jacobian(lambda v: _logits(graph, v[None])[0], point).flatten(1)
        differences = (jacobian[:, None] - jacobian[None]).flatten(0, 1)
        rows = torch.cat([jacobian, differences])
        best = rows.sign() if norm == "linf" else torch.cat([rows, torch.linalg.svd(jacobian).Vh[:2]])
        starts.append(point.expand(len(best), *shape))
        ends.append(point + 1e-3 * best.view(-1, *shape))
    start, end = torch.cat(starts), torch.cat(ends)
    moved = LENGTHS[norm](end - start)
    kept = moved > 0
    change = (_logits(graph, end) - _logits(graph, start))[kept] / moved[kept][:, None]
    between = (change[:, :, None] - change[:, None, :]).abs().amax(0)
    return Steepness(float(LENGTHS[norm](change).max()), between)


@cache
def steepness_of(name: str, norm: str) -> Steepness:
    """Of a net of `tests.operators.nets`."""
    return steepness(graph_of(name), norm)
