"""Sensitive directions and universal perturbations from a model's logits alone: no gradient, no weights.

Legend: n fitting samples, d pixels, q probes for each sample; g a sample's gradient of the margin
`z_y - max_{j != y} z_j`, which is never taken, only asked for along probes.
Every sample gets probes of its own: what one sample's few probes miss, the others' see.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.losses import margin
from brittle.attacks.noise import sample_noise
from brittle.attacks.room import search_ball
from brittle.errors import UsageError
from brittle.evaluation.batches import batches, check_logits, device_of, prepare
from brittle.evaluation.progress import Progress
from brittle.models.frozen import frozen
from brittle.threats import Ball, in_box

# The moment matrix is d x d: up to here it fits in memory and its eigenvectors take seconds.
_MOST_PIXELS = 4096

# Length of a universal perturbation's probes, as a share of the ball's radius; weight of the gradients before.
_PROBE = 0.25
_MOMENTUM = 0.75


@dataclass(frozen=True, eq=False)
class QueriedDirections:
    """Estimates of the leading eigenvectors of `A = E_x[g g^T]`.

    Attributes:
        basis: (k, *shape), orthonormal, largest energy first.
        energies: (k,) estimates of their eigenvalues, free of the probes' bias but not of their noise.
        trace: an unbiased estimate of trace(A).
        queries: forward passes for each fitting sample.
    """

    basis: Tensor
    energies: Tensor
    trace: float
    queries: int


def query_directions(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    k: int,
    probes: int = 16,
    step: float = 0.05,
    batch_size: int,
    seed: int,
    progress: Progress | None = None,
) -> QueriedDirections:
    """Leading directions of the margin by finite differences along random orthonormal directions.

    What `network_directions(map="margin")` computes from gradients. Sample x gets a random q-dimensional subspace,
    rows of U; `U g` is read off antithetic pairs of queries `x +- step u`. The moment of `P g`, P = U^T U, is `P A P`,
    and over uniformly random subspaces

        E[P A P] = a A + b trace(A) I,   a = q (d q + d - 2) / c,   b = q (d - q) / c,   c = d (d - 1) (d + 2),

    so its mean over samples has the eigenvectors of A, and the formula inverted gives the energies; q = d gives A.

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, c); only evaluated.
        x: fitting pixels (n, *shape), d up to 4096.
        y: their labels (n,), int64.
        k: how many directions, 1 ... d.
        probes: q, 1 ... d; a sample costs 2 q queries.
        step: length of a probe, pixel units (l_2), in (0, 0.5]. A sample is moved inwards first where its queries
            would leave [0, 1].
        batch_size: the most samples the model sees at once.
        seed: of the subspaces; a sample's depends on its position alone.
        progress: told after each batch.

    Raises:
        UsageError: k, probes or step out of range, or more pixels than fit.
        DataError, ModelError: samples or logits that cannot be used.
    """
    prepare(x, y, None, batch_size)
    d = x[0].numel()
    if d > _MOST_PIXELS:
        raise UsageError(
            f"directions from queries take inputs of up to {_MOST_PIXELS} pixels, got {d}: use a surrogate"
        )
    if not (1 <= k <= d and 1 <= probes <= d):
        raise UsageError(f"expected k and probes from 1 to {d}, the number of pixels, got k={k}, probes={probes}")
    if not 0 < step <= 0.5:
        raise UsageError(f"the step of finite differences is in (0, 0.5] in pixel units, got {step!r}: try 0.05")
    moment = torch.zeros(d, d, dtype=torch.float64)
    rows = torch.arange(len(x), device=x.device)
    with frozen(model), torch.no_grad():
        for part in batches(rows, max(1, batch_size // (2 * probes))):
            seen = _differences(model, x[part], y[part], part, probes, step, batch_size, seed)
            moment += seen.T @ seen
            if progress is not None:
                progress("queries for directions", int(part[-1]) + 1, len(x))
    moment /= len(x)
    a = probes * (d * probes + d - 2) / (d * (d - 1) * (d + 2)) if d > 1 else 1.0
    b = probes * (d - probes) / (d * (d - 1) * (d + 2)) if d > 1 else 0.0
    trace = float(moment.trace()) * d / probes
    values, vectors = torch.linalg.eigh(moment)
    basis = vectors.flip(1)[:, :k].T.reshape(k, *x.shape[1:])
    return QueriedDirections(basis.to(x), (values.flip(0)[:k] - b * trace) / a, trace, 2 * probes)


def _differences(
    model: nn.Module, x: Tensor, y: Tensor, indices: Tensor, probes: int, step: float, batch_size: int, seed: int
) -> Tensor:
    """`P g` of each sample, (b, d) float64 on the CPU."""
    device = device_of(model, x)
    d = x[0].numel()
    noise = sample_noise(seed, indices, (d, probes), "query-directions", dtype=torch.float64, device="cpu")
    u = torch.linalg.qr(noise).Q.mT  # (b, q, d)
    moves = (step * u).to(x)
    reach = moves.abs().amax(1)
    centre = torch.minimum(torch.maximum(x.flatten(1), reach), 1 - reach)[:, None]
    points = torch.stack([centre + moves, centre - moves]).clamp(0, 1)  # the clamp only takes off rounding
    flat = points.view(-1, *x.shape[1:])
    labels = y[None, :, None].expand(points.shape[:3]).reshape(-1)
    parts = batches(torch.arange(len(flat), device=x.device), batch_size)
    logits = torch.cat([check_logits(model(flat[part].to(device)), labels[part]).to(x.device) for part in parts])
    high, low = -margin(logits.double(), labels).cpu().view(2, len(x), probes)
    return ((high - low)[:, None] @ u)[:, 0] / (2 * step)


def query_universal(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    *,
    steps: int = 40,
    batch_size: int,
    seed: int,
    progress: Progress | None = None,
) -> tuple[Tensor, int]:
    """One perturbation for all samples from queries: (delta (*shape), queries for each fitting sample).

    Ascent of the mean margin over the samples not fooled yet, its gradient estimated by antithetic pairs (NES, Ilyas
    et al. 2018; SPSA, Spall 1992): sample i is asked at `x_i + delta +- r u_i` with a random u_i of its own (random
    signs for l_inf, the sphere for l_2), and `sum_i (l_i^+ - l_i^-) u_i` over all n samples is the estimate. Steps are
    the ball's steepest, with momentum, and shrink linearly from half the radius.

    Args:
        model, batch_size, progress: as in `query_directions`.
        x: fitting pixels (n, *shape).
        y: labels (n,), int64.
        threat: the ball that delta stays in.
        steps: of the ascent, >= 1; a sample costs 2 queries for each.
        seed: of the probes.

    Raises:
        UsageError: steps below one, or a radius below the pixels' resolution.
        DataError, ModelError: samples or logits that cannot be used.
    """
    prepare(x, y, None, batch_size)
    if steps < 1:
        raise UsageError(f"a universal perturbation from queries needs steps >= 1, got {steps}: 40 is usual")
    ball, device = search_ball(threat, x), device_of(model, x)
    delta, average = torch.zeros_like(x[:1]), torch.zeros_like(x[:1])
    with frozen(model), torch.no_grad():
        for number in range(steps):
            gradient = torch.zeros_like(delta)
            for part in batches(torch.arange(len(x), device=x.device), max(1, batch_size // 2)):
                noise = sample_noise(
                    seed, part, x.shape[1:], f"query-universal/{number}", dtype=x.dtype, device=x.device
                )
                probe, label = ball.sphere(noise), y[part]
                pair = [in_box(x[part], delta + sign * _PROBE * probe) for sign in (1, -1)]
                logits = check_logits(model(torch.cat(pair).to(device)), label.repeat(2)).to(x.device)
                high, low = margin(logits, label.repeat(2)).view(2, -1)
                gain = torch.where(torch.maximum(high, low) < 0, high - low, 0.0)
                gradient += torch.tensordot(gain, probe, dims=1)
            average = _MOMENTUM * average + ball.steepest(gradient) * (1 - _MOMENTUM)
            length = 0.5 * ball.epsilon * (1 - number / steps)
            delta = ball.project(delta + length * ball.steepest(average))
            if progress is not None:
                progress("queries for a universal perturbation", number + 1, steps)
    return delta[0], 2 * steps
