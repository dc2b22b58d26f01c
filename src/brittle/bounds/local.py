"""Certificates of single inputs by bounding the network around them: what the audit asks of CROWN.

An input is certified when every margin `z_y - z_j` has a positive lower bound on the whole ball (within the pixel box)
that also exceeds `slack` times the largest |logit| there. The bounds hold in real numbers, float64's rounding is inside
them (see `crown_backward`); `slack` covers the arithmetic of the network as it is evaluated, say 1e-5 for float32.

Nothing here depends on time: work is planned in multiply-adds from the network alone. Legend: n inputs, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.bounds.crown import check_labels, margin_bounds, relax
from brittle.bounds.crown_alpha import improved
from brittle.bounds.crown_plan import Plan, before_nonlinear, plan, row_costs
from brittle.bounds.crown_region import Region, region
from brittle.bounds.ibp import linear_norms, require_readable
from brittle.errors import UsageError
from brittle.operators.graph import Graph
from brittle.results.robustness import threat_key
from brittle.threats import Ball

# (stage, done, total)
Progress = Callable[[str, int, int], None]

# Multiply-adds that an audit spends by default: 6 minutes at the 2.6e9 a second seen on one core of a busy machine.
WORK_LIMIT = 1e12
_BATCH = 32


@dataclass(frozen=True)
class LocalCertificate:
    """Which inputs are certified, (n,) bool, and how; where nothing was tried all are False and `why` says it."""

    certified: Tensor
    method: str
    why: str = ""


def local_certificates(
    graph: Graph | None,
    x: Tensor,
    y: Tensor,
    threats: Sequence[Ball],
    *,
    batch_size: int = _BATCH,
    work_limit: float = WORK_LIMIT,
    slack: float = 0.0,
    alpha_steps: int = 0,
    progress: Progress | None = None,
) -> dict[str, LocalCertificate]:
    """Certificates for all threats, by `threat_key`.

    Radii of one norm go from small to large, and an input that is not certified at one is not tried at the next: the
    certified accuracy falls with the radius. Layers whose ranges would cost more than `work_limit` allows are served by
    interval bounds, and where even the output's bounds do, nothing is certified and `why` gives both numbers.

    Args:
        graph: as read by `read_network`; None or an unreadable one gives empty certificates with the reason.
        x: pixels (n, *shape) in [0, 1], any float format.
        y: labels (n,).
        threats: the balls.
        batch_size: inputs bounded together; the answer does not depend on it.
        work_limit: multiply-adds for all inputs and threats together.
        slack: see above.
        alpha_steps: steps of alpha-CROWN on margins that CROWN leaves undecided; each costs about three bounds.
        progress: told after every batch.

    Raises:
        UsageError: pixels outside [0, 1], labels that are no classes, a batch size < 1, a work limit or slack < 0.
    """
    keys = [threat_key(threat.norm, threat.epsilon) for threat in threats]
    none = torch.zeros(len(x), dtype=torch.bool)
    reasons = ("the network could not be traced",) if graph is None else graph.problems()
    if graph is None or reasons:
        return {key: LocalCertificate(none, "none", reasons[0]) for key in keys}
    _check(graph, x, y, batch_size, slack)
    if not work_limit >= 0:
        raise UsageError(f"expected a work limit >= 0 multiply-adds, got {work_limit!r}")
    each = work_limit / max(1, len(x) * len(threats))
    planned = plan(graph, each)
    if planned.work > each:
        why = (
            f"bounds of the margins alone would take {planned.work * len(x) * len(threats):.1e} multiply-adds, "
            f"over the limit of {work_limit:.1e}"
        )
        return {key: LocalCertificate(none, "none", why) for key in keys}
    method = (
        ("alpha-" if alpha_steps else "")
        + "CROWN"
        + (f", interval bounds from {planned.left[0]} on" if planned.left else "")
    )
    found: dict[str, Tensor] = {}
    for norm in dict.fromkeys(threat.norm for threat in threats):
        standing = correct(graph, x, y, batch_size)
        for threat in sorted((t for t in threats if t.norm == norm), key=lambda t: t.epsilon):
            key = threat_key(norm, threat.epsilon)
            epsilon = torch.full((len(x),), threat.epsilon, dtype=torch.float64)
            told = None if progress is None else _named(progress, f"certificates {key}")
            standing = _certified(graph, x, y, norm, epsilon, standing, planned, slack, alpha_steps, batch_size, told)
            found[key] = standing
    return {key: LocalCertificate(found[key], method) for key in keys}


def certified_at(
    graph: Graph,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    *,
    slack: float = 0.0,
    alpha_steps: int = 0,
    batch_size: int = _BATCH,
) -> Tensor:
    """Whether no point of ball and pixel box changes each prediction, (n,) bool; every layer's ranges by CROWN.

    Raises:
        ModelError: a node that could not be read.
        UsageError: as `local_certificates`.
    """
    require_readable(graph)
    _check(graph, x, y, batch_size, slack)
    epsilon = torch.full((len(x),), threat.epsilon, dtype=torch.float64)
    standing = correct(graph, x, y, batch_size)
    return _certified(graph, x, y, threat.norm, epsilon, standing, _all(graph), slack, alpha_steps, batch_size, None)


def certified_radii_local(
    graph: Graph,
    x: Tensor,
    y: Tensor,
    norm: str,
    max_radius: float,
    *,
    steps: int = 10,
    slack: float = 0.0,
    batch_size: int = _BATCH,
) -> Tensor:
    """The largest radius up to `max_radius` that bisection could certify for each input, (n,) float64, pixel units.

    0 where the input is misclassified. Each returned radius was certified itself: bounds need not be monotone. The
    largest certified one may be up to `max_radius / 2^steps` larger.

    Raises:
        ModelError: a node that could not be read.
        UsageError: as `local_certificates`; also a radius <= 0, steps < 1, or an unknown norm.
    """
    require_readable(graph)
    _check(graph, x, y, batch_size, slack)
    if not 0 < max_radius < float("inf") or steps < 1:
        raise UsageError(f"expected a largest radius > 0 and steps >= 1, got {max_radius!r} and {steps!r}")
    standing = correct(graph, x, y, batch_size)
    low = torch.zeros(len(x), dtype=torch.float64)
    high = torch.full_like(low, max_radius)
    whole = _all(graph)
    for number in range(steps + 1):
        middle = high if number == 0 else (low + high) / 2
        done = _certified(graph, x, y, norm, middle, standing, whole, slack, 0, batch_size, None)
        low, high = torch.where(done, middle, low), torch.where(done, high, middle)
        standing = standing & (low < max_radius)
    return low


def correct(graph: Graph, x: Tensor, y: Tensor, batch_size: int = _BATCH) -> Tensor:
    """Whether the prediction in float64 is the label, (n,) bool."""
    with torch.no_grad():
        parts = [graph.evaluate(part)[-1].argmax(1) for part in x.detach().cpu().double().split(batch_size)]
    return torch.cat(parts) == y.cpu() if parts else torch.zeros(0, dtype=torch.bool)


def forecast_work(graph: Graph, inputs: int, threats: int, work_limit: float = WORK_LIMIT) -> float:
    """Multiply-adds that `local_certificates` expects to spend; infinite where it would do nothing."""
    each = work_limit / max(1, inputs * threats)
    planned = plan(graph, each)
    return planned.work * inputs * threats if planned.work <= each else float("inf")


def _all(graph: Graph) -> Plan:
    return Plan(frozenset(before_nonlinear(graph)), (), row_costs(graph)[-1])


def _certified(
    graph: Graph,
    x: Tensor,
    y: Tensor,
    norm: str,
    epsilon: Tensor,
    candidates: Tensor,
    planned: Plan,
    slack: float,
    alpha_steps: int,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """Certificates at one radius for each input (n,), tried only for the candidates."""
    out = torch.zeros(len(x), dtype=torch.bool)
    rows = candidates.nonzero()[:, 0]
    norms = linear_norms(graph) if norm == "l2" else {}
    done = 0
    for part in rows.split(batch_size) if len(rows) else ():
        around = region(norm, x[part], epsilon[part])
        out[part] = _decide(graph, around, y[part].cpu(), planned, norms, slack, alpha_steps)
        done += len(part)
        if progress is not None:
            progress(done, len(rows))
    return out


def _decide(
    graph: Graph, around: Region, y: Tensor, planned: Plan, norms: dict[int, Tensor], slack: float, alpha_steps: int
) -> Tensor:
    with torch.no_grad():
        relaxation = relax(graph, around, planned.refine, norms)
        margins = margin_bounds(relaxation, y)
        output = relaxation.intervals[-1]
        needed = slack * torch.maximum(output.lower.abs(), output.upper.abs()).flatten(1).amax(1)
    if alpha_steps:
        margins = improved(relaxation, y, margins - needed[:, None], alpha_steps) + needed[:, None]
    return (margins > needed[:, None]).all(1)


def _named(progress: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(stage, done, total)


def _check(graph: Graph, x: Tensor, y: Tensor, batch_size: int, slack: float) -> None:
    check_labels(graph, x, y)
    if batch_size < 1 or not slack >= 0:
        raise UsageError(f"expected a batch size >= 1 and a slack >= 0, got {batch_size!r} and {slack!r}")
