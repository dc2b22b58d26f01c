"""How often one perturbation for all inputs changes predictions, beside random ones of equal length.

Legend: n scoring samples; delta (*shape) is added to every input, then pixels are clamped to [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.attacks.noise import sample_noise
from brittle.attacks.room import search_ball
from brittle.attacks.universal import SteepestAscent, fit_universal
from brittle.data.order import shuffled
from brittle.data.split import Split
from brittle.errors import DataError, UsageError
from brittle.evaluation.accuracy import clean_right
from brittle.evaluation.batches import Progress, batches, device_of, prepare
from brittle.evaluation.intervals import wilson
from brittle.models.frozen import frozen
from brittle.results.perturbations import Universal
from brittle.threats import BALLS, Ball, in_box

# The fewest random perturbations whose mean is called a control.
_FEWEST = 10


def predictions(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    """The model's classes for x (n, *shape), (n,) int64: what a perturbation that shall fool the model must leave.

    Raises:
        UsageError, DataError, ModelError: as `brittle.evaluation.accuracy.clean_right`, which needs the labels y (n,).
    """
    return clean_right(model, x, y, batch_size)[1].argmax(1)


def perturbed_predictions(model: nn.Module, x: Tensor, delta: Tensor, batch_size: int) -> Tensor:
    """The model's classes for clamp(x + delta), x (n, *shape) and delta (*shape): (n,) int64."""
    device = device_of(model, x)
    rows = torch.arange(len(x), device=x.device)
    with frozen(model), torch.no_grad():
        parts = [model(in_box(x[part], delta.to(x)).to(device)).argmax(1) for part in batches(rows, batch_size)]
    return torch.cat(parts).to(x.device)


def fooling(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    delta: Tensor,
    threat: Ball,
    *,
    held_out: bool,
    fitted: int,
    batch_size: int,
    seed: int,
    method: str = "",
    target: str | None = None,
    draws: int = _FEWEST,
) -> Universal:
    """Score a universal perturbation.

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, classes).
        x: scoring pixels (n, *shape), float32 or float64.
        y: their labels (n,) int64, for the accuracies; the fooling rate only compares predictions.
        delta: the perturbation (*shape), inside the threat.
        threat: the ball.
        held_out: True where delta was fitted on other samples than these.
        fitted: how many samples it was fitted on.
        batch_size: the most samples the model sees at once.
        seed: of the random perturbations.
        method: how delta was found, for the record.
        target: the class it pushes to, None for any other.
        draws: random perturbations, at least 10, each as long as delta in the threat's norm and shared by all samples.

    Raises:
        UsageError: delta outside the threat, too few draws, a negative count, or a batch size below one.
        DataError: samples that cannot be used, or a delta of another shape or with NaN.
        ModelError: logits that are not finite scores (b, classes).
    """
    prepare(x, y, None, batch_size)
    length = _checked_length(x, delta, threat)
    if draws < _FEWEST:
        raise UsageError(f"a control needs draws >= {_FEWEST}, got {draws}: the mean of a few is no baseline")
    if fitted < 0:
        raise UsageError(f"the number of fitting samples must be >= 0, got {fitted}")
    right, logits = clean_right(model, x, y, batch_size)
    before = logits.argmax(1)
    after = perturbed_predictions(model, x, delta, batch_size)
    changed = int((after != before).sum())
    return Universal(
        norm=threat.norm,
        epsilon=threat.epsilon,
        fooling_rate=changed / len(x),
        held_out=held_out,
        method=method,
        n=len(x),
        interval95=wilson(changed, len(x)),
        control=_control(model, x, before, threat.norm, length, batch_size, seed, draws),
        clean=float(right.double().mean()),
        accuracy=float((after == y).double().mean()),
        fitted=fitted,
        target=target,
    )


def universal_perturbation(
    model: nn.Module,
    data: Split | tuple[Tensor, Tensor],
    ball: Ball,
    *,
    method: SteepestAscent | None = None,
    target: int | None = None,
    share: float = 0.5,
    batch_size: int = 500,
    seed: int = 0,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> tuple[Tensor, Universal]:
    """Fit one perturbation that changes the model's predictions, and score it on samples it has not seen.

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, classes).
        data: at least 4 samples, a `Split` or x (n, *shape) and y (n,).
        ball: the threat.
        method: how to search; `SteepestAscent()` by default.
        target: class to push to; None for any other.
        share: of the samples to fit on, in (0, 1), drawn by the seed; the others score.
        batch_size: the most samples the model sees at once.
        seed: of all randomness.
        progress: told (stage, done, total).
        deadline: a reading of `time.monotonic()` after which the search stops.

    Returns:
        delta (*shape) and its record, with `held_out` True.

    Raises:
        UsageError, DataError, ModelError: as `fit_universal` and `fooling`, or a share that leaves a part too small.
    """
    x, y = (data.x, data.y) if isinstance(data, Split) else data
    prepare(x, y, None, batch_size)
    if not 0 < share < 1:
        raise UsageError(f"the share of samples to fit on must lie in (0, 1), got {share}: 0.5 is usual")
    if seed < 0:
        raise UsageError(f"the seed must be a whole number of at least 0, got {seed}")
    cut = round(share * len(x))
    if cut < 2 or cut > len(x) - 1:
        raise DataError(
            f"expected at least 2 samples to fit on and 1 to score on, got {cut} and {len(x) - cut}: give more samples"
        )
    # A seed of its own: the fit shuffles its samples by `seed` too.
    rows = torch.from_numpy(shuffled(len(x), (seed, 1))).to(x.device)
    fit, score = rows[:cut].sort().values, rows[cut:].sort().values
    method = method or SteepestAscent()
    leave = predictions(model, x[fit], y[fit], batch_size)
    delta = fit_universal(
        model,
        x[fit],
        leave,
        ball,
        method=method,
        seed=seed,
        batch_size=batch_size,
        target=target,
        progress=progress,
        deadline=deadline,
    )
    record = fooling(
        model,
        x[score],
        y[score],
        delta,
        ball,
        held_out=True,
        fitted=cut,
        batch_size=batch_size,
        seed=seed,
        method=method.name,
        target=None if target is None else str(target),
    )
    return delta, record


def _control(
    model: nn.Module, x: Tensor, before: Tensor, norm: str, length: float, batch_size: int, seed: int, draws: int
) -> float:
    """Mean share of predictions that random perturbations of this length change, each shared by all samples."""
    if length == 0:
        return 0.0
    ball, total = BALLS[norm](length), 0.0
    for draw in range(draws):
        noise = sample_noise(seed, [draw], x.shape[1:], "universal/control", dtype=x.dtype, device=x.device)
        after = perturbed_predictions(model, x, ball.sphere(noise)[0], batch_size)
        total += float((after != before).double().mean())
    return total / draws


def _checked_length(x: Tensor, delta: Tensor, threat: Ball) -> float:
    """The perturbation's length in the threat's norm, if it belongs to these samples and lies in the ball."""
    if delta.shape != x.shape[1:]:
        raise DataError(f"expected one perturbation of shape {tuple(x.shape[1:])}, got {tuple(delta.shape)}")
    if not bool(torch.isfinite(delta).all()):
        raise DataError("expected a finite perturbation, got NaN or infinity: fit it again")
    search_ball(threat, x)  # refuses a radius below the pixels' resolution
    length = float(threat.length(delta[None].double())[0])
    if length > threat.epsilon:
        raise UsageError(
            f"expected a perturbation inside the {threat.norm} ball of radius {threat.epsilon:g}, got length "
            f"{length:.9g}: project it with a margin for rounding"
        )
    return length
