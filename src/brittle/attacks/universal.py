"""One perturbation for all inputs, by minibatch ascent.

Legend: n fitting samples, of which some only choose between iterates; delta (*shape) is added to every input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import torch
from torch import Tensor, nn

from brittle.attacks.room import check_samples, search_ball
from brittle.attacks.universal_gradient import shared_gradient
from brittle.attacks.universal_start import RandomStart, Start, ZeroStart
from brittle.attacks.universal_task import Task, task_for
from brittle.data.order import shuffled
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball

# (stage, done, total)
Progress = Callable[[str, int, int], None]
# Steps between two looks at them.
_LOOK = 10


@dataclass(frozen=True)
class SteepestAscent:
    """Ascent along the ball's steepest step (the sign for l_inf) of a minibatch gradient with momentum.

    Step t of T is `delta <- P(delta + step_size * epsilon * (1 - t / T) * steepest(m_t))`,
    `m_t = momentum * m_{t-1} + g_t / ||g_t||_*`, g_t the summed gradient over the next `minibatch` samples (Shafahi et
    al. 2020, "Universal adversarial training", with a bounded loss and one-sided gradients at the pixel box's walls).
    The loss is a sigmoid step at the decision boundary, `width` times the median clean margin wide: what is fooled
    already, and what is hopeless, hardly pulls. One run from each of `starts`; `steps=0` judges them as they are.

    Raises:
        UsageError: a number out of range, or no starts.
    """

    steps: int = 300
    step_size: float = 0.4
    momentum: float = 0.5
    minibatch: int = 100
    width: float = 0.15
    starts: tuple[Start, ...] = (ZeroStart(), RandomStart(), RandomStart(), RandomStart())

    def __post_init__(self) -> None:
        if self.steps < 0 or self.minibatch < 1 or not self.starts:
            raise UsageError(
                "a universal perturbation needs steps >= 0, minibatch >= 1 and at least one start, got "
                f"steps={self.steps}, minibatch={self.minibatch}, {len(self.starts)} starts"
            )
        if not (0 < self.step_size < float("inf") and 0 < self.width < float("inf") and 0 <= self.momentum < 1):
            raise UsageError(
                "a universal perturbation needs positive step_size and width, and momentum in [0, 1), got "
                f"step_size={self.step_size}, width={self.width}, momentum={self.momentum}"
            )

    @property
    def name(self) -> str:
        """ "universal-<steps>x<starts>"."""
        return f"universal-{self.steps}x{len(self.starts)}"


def fit_universal(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    *,
    method: SteepestAscent | None = None,
    seed: int,
    batch_size: int,
    target: int | None = None,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> Tensor:
    """A perturbation delta (*shape) that makes the model misclassify as many of the inputs clamp(x + delta) as it can.

    A fifth of the samples, drawn by the seed, only chooses between the iterates of all runs, so the answer is less
    fitted to the others than to the task. Inputs with delta added and clamped to [0, 1] stay inside the threat after
    rounding. The batch size changes the answer only through rounding, and only when it is below the minibatch.

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, classes); held in evaluation mode meanwhile.
        x: pixels (n, *shape), float32 or float64, n >= 2.
        y: the classes to leave (n,) int64: labels to destroy accuracy, the model's own predictions to fool it.
        threat: the ball.
        method: how to search; `SteepestAscent()` by default.
        seed: of all randomness, >= 0.
        batch_size: the most samples the model sees at once.
        target: class to reach instead of merely leaving y; samples with y = target are left out.
        progress: told ("universal perturbation", steps done, steps in all).
        deadline: a reading of `time.monotonic()` after which no step is made; the best iterate so far is the answer.

    Raises:
        UsageError: a batch size or seed out of range, pixels in another format, a radius below their resolution.
        DataError: samples that are not pixels with labels, labels or target outside the classes, too few samples.
        ModelError: a model without finite logits (b, classes), or without gradients.
    """
    method = method or SteepestAscent()
    if batch_size < 1:
        raise UsageError(f"the batch size must be >= 1, got {batch_size}")
    if seed < 0:
        raise UsageError(f"the seed must be a whole number of at least 0, got {seed}")
    check_samples(x, y, torch.arange(len(x), device=x.device))
    ball = search_ball(threat, x)
    parameter = next(model.parameters(), None)
    device = x.device if parameter is None else parameter.device
    with frozen(model):
        task = task_for(model, x, y, ball, target, method.width, seed, batch_size, device)
        best, best_score = torch.zeros_like(task.x_choose[0]), (-1.0, 0.0)
        total = method.steps * len(method.starts)
        for number, start in enumerate(method.starts):
            if number and deadline is not None and monotonic() >= deadline:
                break
            delta = start(
                model, task.x, task.labels, task.goal, ball, number=number, seed=seed, batch_size=batch_size
            ).detach()
            velocity = torch.zeros_like(delta)
            best, best_score = _better(task, delta, best, best_score)
            order = _Order(len(task.x), (seed, number))
            for step in range(method.steps):
                if deadline is not None and monotonic() >= deadline:
                    break
                rows = order.next(method.minibatch).to(device)
                gradient = shared_gradient(model, task.x[rows], task.labels[rows], delta, task.loss, batch_size)
                velocity = method.momentum * velocity + _unit(ball, gradient)
                stride = method.step_size * ball.epsilon * (1 - step / method.steps)
                delta = ball.project((delta + stride * ball.steepest(velocity[None])[0])[None])[0]
                if (step + 1) % _LOOK == 0 or step + 1 == method.steps:
                    best, best_score = _better(task, delta, best, best_score)
                if progress is not None:
                    progress("universal perturbation", number * method.steps + step + 1, total)
    return best.to(x.device)


class _Order:
    """Minibatches of row numbers, in a new order after each pass."""

    def __init__(self, n: int, seed: tuple[int, int]) -> None:
        self._n, self._seed, self._passes = n, seed, 0
        self._left = torch.zeros(0, dtype=torch.int64)

    def next(self, count: int) -> Tensor:
        count = min(count, self._n)
        while len(self._left) < count:
            fresh = torch.from_numpy(shuffled(self._n, (*self._seed, self._passes)))
            self._left, self._passes = torch.cat([self._left, fresh]), self._passes + 1
        rows, self._left = self._left[:count], self._left[count:]
        return rows


def _better(
    task: Task, delta: Tensor, best: Tensor, best_score: tuple[float, float]
) -> tuple[Tensor, tuple[float, float]]:
    score = task.score(delta)
    return (delta, score) if score > best_score else (best, best_score)


def _unit(ball: Ball, gradient: Tensor) -> Tensor:
    """The gradient with dual length one, so that no minibatch outweighs another; zero stays zero."""
    largest = gradient.abs().max()
    scaled = gradient / largest if largest > 0 else gradient
    return scaled / ball.dual_length(scaled[None])[0].clamp_min(1.0)
