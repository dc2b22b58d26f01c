"""Sensitive directions of a whole network on data: where, in pixel space, its output moves most.

Legend: n samples, k directions, d pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from brittle.directions.found import Found
from brittle.directions.margin import margin_directions
from brittle.directions.moment import Moment
from brittle.directions.pictures import direction_png
from brittle.directions.representation import representation
from brittle.directions.samples import Samples, Search, check_formats, check_pair
from brittle.directions.subspace import Progress, leading_pairs
from brittle.directions.trace import trace
from brittle.errors import DataError, UsageError
from brittle.models.frozen import frozen
from brittle.results.directions import Direction, DirectionSet

# Vectors multiplied by A at once: small blocks reach higher powers of A for the same price, large ones share the
# forward pass among more vectors. Up to this many equal eigenvalues are told apart.
BLOCK = 4


def representation_directions(model: nn.Module, fit: Samples, score: Samples, search: Search) -> Found:
    """Leading eigenvectors of `E_x[ J^T J ]`, J the Jacobian from pixels to the head's input; labels are not used.

    Block Krylov iteration with products `J^T (J v)`; where the model has no linear head, its logits stand in and the
    map is called "logits".

    Raises:
        ModelError: outputs that are not finite or cannot be differentiated.
    """
    with representation(model, fit.x[: search.batch_size]) as (name, function):
        moment = Moment(function, fit.x, search.batch_size)
        pairs = leading_pairs(
            moment.apply,
            moment.pixels,
            search.k,
            block=BLOCK,
            seed=search.seed,
            tolerance=search.tolerance,
            budget=search.budget,
            rounding=10 * torch.finfo(fit.x.dtype).eps,
            progress=search.progress,
        )
        fitted = trace(moment, pairs.basis, pairs.captured, seed=search.seed)
        other = Moment(function, score.x, search.batch_size)
        scored = other.energies(pairs.vectors)
        rest = trace(other, pairs.vectors, float(scored.sum()), seed=search.seed + 1)
    return Found(name, pairs.vectors, pairs.values, pairs.residuals, fitted, scored, rest, pairs.products)


MAPS: dict[str, Callable[[nn.Module, Samples, Samples, Search], Found]] = {
    "representation": representation_directions,
    "margin": margin_directions,
}


def network_directions(
    model: nn.Module,
    x_fit: Tensor,
    y_fit: Tensor | None,
    x_score: Tensor,
    y_score: Tensor | None,
    *,
    map: str = "representation",
    k: int = 8,
    batch_size: int = 32,
    seed: int = 0,
    tolerance: float = 1e-2,
    budget: int = 128,
    progress: Progress | None = None,
) -> tuple[DirectionSet, Tensor]:
    """The k leading eigenvectors v_i of `A = E_x[ J(x)^T J(x) ]`, fitted on some samples and scored on others.

    J is the Jacobian in the pixels of the representation (the input of the model's last linear layer) or of the margin
    (`z_y - max_{j != y} z_j`). To first order, moving every sample by `epsilon v_i` moves its output by
    `epsilon sqrt(energy_i)` in root mean square, and no unit vector orthogonal to the first i - 1 does more.

    Args:
        model: takes pixels (b, *shape), returns logits (b, classes); it comes back as it was.
        x_fit: (n, *shape) float pixels in [0, 1] that the directions are fitted on.
        y_fit: (n,) int64 labels, or None for the predicted classes; only the margin uses them.
        x_score: (m, *shape) other pixels, for `scored_share`.
        y_score: (m,) as `y_fit`.
        map: a name in `MAPS`.
        k: number of directions.
        batch_size: samples linearised at once; the numbers depend on it only by rounding.
        seed: of the random start and the probes of the trace.
        tolerance: relative residual at which a direction is accepted (the margin's are exact).
        budget: the most products `A v`; then the directions are given as they are, with their residuals.
        progress: told (stage, done, total).

    Returns:
        The record, and V (k, *shape) with orthonormal rows in the pixels' number format, on their device.

    Raises:
        UsageError: an unknown map, a setting out of range, or number formats that do not fit.
        DataError: no samples, samples of different shapes, pixels outside [0, 1], bad labels.
        ModelError: a half-precision model, one that does not take such inputs, or one without finite derivatives.
    """
    if map not in MAPS:
        raise UsageError(f"unknown map {map!r}: expected one of {', '.join(MAPS)}")
    fit, score = Samples(x_fit, y_fit), Samples(x_score, y_score)
    check_pair(fit, score)
    search = Search(k, batch_size, seed, tolerance, budget, progress)
    search.check(tuple(x_fit.shape[1:]))
    check_formats(model, x_fit)
    device = next((p.device for p in model.parameters()), x_fit.device)
    with frozen(model):
        found = MAPS[map](model, replace(fit, x=x_fit.to(device)), replace(score, x=x_score.to(device)), search)
    vectors = _signed(found.vectors).view(-1, *x_fit.shape[1:])
    return _record(found, vectors, len(x_fit), len(x_score)), vectors.to(x_fit)


def sensitive_directions(
    model: nn.Module,
    x: Tensor,
    k: int = 8,
    y: Tensor | None = None,
    *,
    map: str = "representation",
    batch_size: int = 32,
    seed: int = 0,
    tolerance: float = 1e-2,
    budget: int = 128,
    progress: Progress | None = None,
) -> tuple[DirectionSet, Tensor]:
    """`network_directions` with the samples split in two: those at even positions are fitted, the others scored.

    Args:
        model: takes pixels (b, *shape), returns logits (b, classes); it comes back as it was.
        x: (n, *shape) float pixels in [0, 1], n >= 2.
        k: number of directions.
        y: (n,) int64 labels, or None for the predicted classes; only the margin uses them.
        map: "representation" or "margin".
        batch_size: samples linearised at once.
        seed: of every random choice.
        tolerance: relative residual at which a direction is accepted.
        budget: the most products `A v`.
        progress: told (stage, done, total).

    Returns:
        The record, and V (k, *shape) with orthonormal rows.

    Raises:
        BrittleError: as `network_directions`; DataError for fewer than two samples.
    """
    Samples(x, y).check("fit and score")
    if len(x) < 2:
        raise DataError("expected at least 2 samples, one to fit and one to score, got 1: give more")
    even, odd = (None, None) if y is None else (y[::2], y[1::2])
    return network_directions(
        model,
        x[::2],
        even,
        x[1::2],
        odd,
        map=map,
        k=k,
        batch_size=batch_size,
        seed=seed,
        tolerance=tolerance,
        budget=budget,
        progress=progress,
    )


def _signed(vectors: Tensor) -> Tensor:
    """Each row with the sign that makes its largest entry positive: eigenvectors have none of their own."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return torch.where(largest < 0, -vectors, vectors)


def _record(found: Found, vectors: Tensor, fitted: int, scored: int) -> DirectionSet:
    rows = []
    for i, vector in enumerate(vectors):
        energy, there = float(found.energies[i]), float(found.scored[i])
        rows.append(
            Direction(
                energy,
                _share(energy, found.trace.value),
                float(found.residuals[i]),
                _share(there, found.scored_trace.value),
                direction_png(vector),
            )
        )
    return DirectionSet(
        found.name,
        tuple(rows),
        found.trace.value,
        found.trace.status,
        max(found.trace.error, found.scored_trace.error),
        fitted,
        scored,
        found.products,
    )


def _share(energy: float, total: float) -> float:
    return energy / total if total > 0 else 0.0
