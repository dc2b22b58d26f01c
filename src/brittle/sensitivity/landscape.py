"""A picture of what an attack does to the representation: the plane of its two principal components.

Legend: n samples, w numbers in a representation, P (2, w) the components.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from brittle.directions.representation import find_head, representation
from brittle.errors import DataError, ModelError, UsageError
from brittle.evaluation.batches import batches, device_of, prepare
from brittle.models.frozen import frozen
from brittle.results.directions import Landscape
from brittle.threats import Ball

# What a picture can show.
MOST_SAMPLES = 300
GRID = 60
# Room around the outermost points, as a share of their spread.
_MARGIN = 0.05
# Spread, relative to the representations themselves, that counts as rounding.
_SAME = 1e-12


def landscape(
    model: nn.Module,
    x: Tensor,
    x_adv: Tensor,
    y: Tensor,
    threat: Ball,
    *,
    seed: int,
    batch_size: int,
    most: int = MOST_SAMPLES,
    grid: int = GRID,
) -> Landscape:
    """Clean and attacked representations in the plane of their first two principal components (of both together).

    The representation is the input of the model's last linear layer; where there is none, the logits. A region of the
    plane shows the class that the head gives to the point of the plane itself: samples lie off the plane, and what
    the head gives them may differ.

    Args:
        model: pixels (b, *shape) -> logits (b, classes).
        x: pixels (n, *shape), float32 or float64.
        x_adv: attacked pixels (n, *shape).
        y: labels (n,), int64.
        threat: the attack's ball, for the record.
        seed: of the choice among more than `most` samples.
        batch_size: the most samples the model sees at once.
        most: the most samples to show.
        grid: points along each side of the grid of regions.

    Raises:
        UsageError: most < 2, grid < 2, a batch size below one, or pixels that are neither float32 nor float64.
        DataError: samples that cannot be used, attacked pixels that do not fit them, or representations that are all
            the same.
        ModelError: a representation of fewer than two numbers, or one that is not finite.
    """
    if most < 2 or grid < 2:
        raise UsageError(f"expected at least 2 samples and a grid of at least 2, got most={most}, grid={grid}")
    prepare(x, y, None, batch_size)
    if x_adv.shape != x.shape or not bool(torch.isfinite(x_adv).all()):
        raise DataError(
            f"expected finite attacked pixels of shape {tuple(x.shape)}, got {tuple(x_adv.shape)}: "
            "give one attacked version of each sample"
        )
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:most].sort().values.to(x.device)
    device = device_of(model, x)
    with frozen(model), torch.no_grad():
        first = x[chosen[:batch_size]].to(device)
        head = find_head(model, first)
        with representation(model, first) as (_, function):
            clean, attacked = (_representations(function, p, chosen, batch_size, device) for p in (x, x_adv.to(x)))
        centre, plane, variance = principal_plane(torch.cat([clean, attacked]))
        both = [(z - centre) @ plane.T for z in (clean, attacked)]
        extent = _extent(torch.cat(both))
        points = centre + _grid(extent, grid) @ plane
        read = [part if head is None else head(part.to(device, x.dtype)) for part in points.split(batch_size)]
        classes = torch.cat([part.argmax(1) for part in read]).view(grid, grid).tolist()
    return Landscape(
        norm=threat.norm,
        epsilon=threat.epsilon,
        clean=tuple((a, b) for a, b in both[0].tolist()),
        attacked=tuple((a, b) for a, b in both[1].tolist()),
        labels=tuple(y[chosen].tolist()),
        regions=tuple(tuple(row) for row in classes),
        extent=extent,
        variance=variance,
    )


def principal_plane(z: Tensor) -> tuple[Tensor, Tensor, tuple[float, float]]:
    """Mean (w,), first two principal components (2, w) and their shares of the variance, of z (n, w), float64.

    A component's largest entry is positive.

    Raises:
        ModelError: w < 2.
        DataError: rows that are all the same.
    """
    if z.shape[1] < 2:
        raise ModelError(f"expected a representation of at least 2 numbers to draw a plane, got {z.shape[1]}")
    centre = z.mean(0)
    _, sigma, vt = torch.linalg.svd(z - centre, full_matrices=False)
    energy = sigma.square()
    if len(energy) < 2 or not float(sigma[0]) > _SAME * float(z.norm()):
        raise DataError(f"expected representations that differ, got {len(z)} equal ones: give more samples")
    plane = vt[:2]
    largest = plane.gather(1, plane.abs().argmax(1, keepdim=True))
    share = (energy / energy.sum()).tolist()
    return centre, torch.where(largest < 0, -plane, plane), (share[0], share[1])


def _representations(
    function: Callable[[Tensor], Tensor], x: Tensor, chosen: Tensor, batch_size: int, device: torch.device
) -> Tensor:
    z = torch.cat([function(x[part].to(device)).double().cpu() for part in batches(chosen, batch_size)])
    if not bool(torch.isfinite(z).all()):
        raise ModelError("expected finite representations, got NaN or infinity: check the weights and the pixels")
    return z


def _extent(points: Tensor) -> tuple[float, float, float, float]:
    low, high = points.amin(0), points.amax(0)
    margin = _MARGIN * torch.where(high > low, high - low, (high - low).max())
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    return left, right, bottom, top


def _grid(extent: tuple[float, float, float, float], side: int) -> Tensor:
    """Points (side * side, 2), row by row from the bottom, each from left to right."""
    left, right, bottom, top = extent
    across = torch.linspace(left, right, side, dtype=torch.float64)
    up = torch.linspace(bottom, top, side, dtype=torch.float64)
    rows, columns = torch.meshgrid(up, across, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], 1)
