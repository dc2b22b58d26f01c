"""Per sample: what the full attack breaks, what attacks confined to leading and to random directions break.

Legend: n samples, k directions, draws of random directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from brittle.attacks.apgd import APGD
from brittle.attacks.confined import ConfinedAPGD, UnboxedAPGD, check_basis
from brittle.attacks.keep import Highest
from brittle.attacks.protocol import Attack
from brittle.attacks.room import search_ball
from brittle.errors import UsageError
from brittle.evaluation.accuracy import clean_right
from brittle.evaluation.batches import batches, device_of, prepare
from brittle.evaluation.progress import Progress
from brittle.models.frozen import frozen
from brittle.sensitivity.overlap import random_directions
from brittle.threats import PIXELS, Ball, Box


@dataclass(frozen=True, eq=False)
class Outcomes:
    """`right` (n,): correct as it is; `full` (n,), `confined[m]` (n,), `random[m]` (draws, n): right, then broken.

    `delta` (n, *shape) holds the perturbations of largest loss that the full attack finds when it goes on after the
    first error, zero where the model is wrong already. An answer that stops there keeps much of its random start.
    """

    right: NDArray[np.bool_]
    full: NDArray[np.bool_]
    confined: dict[int, NDArray[np.bool_]]
    random: dict[int, NDArray[np.bool_]]
    delta: Tensor


@dataclass(frozen=True)
class _Strongest:
    """The full attack, going on after the first error for the largest loss."""

    attack: APGD | UnboxedAPGD

    @property
    def name(self) -> str:
        return f"worst-{self.attack.name}"

    @property
    def cost(self) -> int:
        return self.attack.cost

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        return self.attack.search(model, x, y, threat, Highest, indices=indices, seed=seed)


def default_ms(k: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to k, and k itself."""
    return tuple(sorted({2**i for i in range(k.bit_length())} | {k}))


def confined_outcomes(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    directions: Tensor,
    threat: Ball,
    *,
    box: Box = PIXELS,
    ms: Sequence[int] | None = None,
    steps: int = 50,
    restarts: int = 1,
    loss: str = "ce",
    draws: int = 3,
    seed: int,
    batch_size: int,
    indices: Tensor | None = None,
    progress: Progress | None = None,
) -> Outcomes:
    """Attack every sample that is right, in full and confined to spans; all attacks have the same settings.

    Args and errors: as `brittle.sensitivity.explained.explain`.
    """
    positions = prepare(x, y, indices, batch_size)
    check_basis(directions, tuple(x.shape[1:]))
    chosen = check_ms(default_ms(len(directions)) if ms is None else ms, len(directions))
    if draws < 1:
        raise UsageError(f"expected draws >= 1 of random directions, got {draws}")
    full = APGD(steps, loss, restarts) if box == PIXELS else UnboxedAPGD(steps, loss, restarts)
    search_ball(threat, x, box)  # refuses a radius below the pixels' resolution before any work
    device = device_of(model, x)
    spans = [directions.to(device)]
    spans += [random_directions(chosen[-1], tuple(x.shape[1:]), seed, draw).to(device) for draw in range(draws)]
    total = 2 + len(chosen) * len(spans)
    right, _ = clean_right(model, x, y, batch_size)

    def outcome(attack: Attack, done: int) -> tuple[NDArray[np.bool_], Tensor]:
        answer = broken_by(model, x, y, right, attack, threat, box, positions, seed, batch_size)
        if progress is not None:
            progress(attack.name, done, total)
        return answer

    everywhere, _ = outcome(full, 1)
    _, delta = outcome(_Strongest(full), 2)
    confined: dict[int, NDArray[np.bool_]] = {}
    random: dict[int, NDArray[np.bool_]] = {}
    for i, m in enumerate(chosen):
        attacks = [ConfinedAPGD(span[:m], steps, loss, restarts, box) for span in spans]
        done = 3 + i * len(spans)
        rows = [outcome(attack, done + j)[0] for j, attack in enumerate(attacks)]
        confined[m], random[m] = rows[0], np.stack(rows[1:])
    return Outcomes(right.cpu().numpy(), everywhere, confined, random, delta)


def broken_by(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    right: Tensor,
    attack: Attack,
    threat: Ball,
    box: Box,
    indices: Tensor,
    seed: int,
    batch_size: int,
) -> tuple[NDArray[np.bool_], Tensor]:
    """Which of the samples `right` (n,) an attack breaks, (n,) bool, and its perturbations (n, *shape), zero elsewhere.

    The model is asked again about every answer, and each answer is checked against ball and box in float64.

    Raises:
        UsageError: an answer outside ball or box.
    """
    device = device_of(model, x)
    broken = torch.zeros_like(right)
    delta = torch.zeros_like(x)
    with frozen(model):
        for part in batches(right.nonzero()[:, 0], batch_size):
            centre, label = x[part].to(device), y[part].to(device)
            answer = attack(model, centre, label, threat, indices=indices[part], seed=seed).detach()
            _check_inside(attack.name, centre, answer, threat, box)
            with torch.no_grad():
                broken[part] = (model(answer).argmax(1) != label).to(x.device)
            delta[part] = (answer - centre).to(x)
    return broken.cpu().numpy(), delta


def check_ms(ms: Sequence[int], most: int) -> tuple[int, ...]:
    """Numbers of directions, sorted, without repeats.

    Raises:
        UsageError: none, or one outside 1 ... most.
    """
    chosen = tuple(sorted(set(ms)))
    if not chosen or chosen[0] < 1 or chosen[-1] > most:
        raise UsageError(f"expected numbers of directions from 1 to {most}, got {list(ms)}")
    return chosen


def _check_inside(name: str, x: Tensor, x_adv: Tensor, threat: Ball, box: Box) -> None:
    length = float(threat.length(x_adv.double() - x.double()).max())
    low, high = float(x_adv.min()), float(x_adv.max())
    bottom, top = torch.tensor([box.low, box.high], dtype=x_adv.dtype).tolist()
    if not (length <= threat.epsilon and low >= bottom and high <= top):
        raise UsageError(
            f"attack {name} left the threat: {threat.norm} length {length:.9g} for epsilon {threat.epsilon:.9g}, "
            f"pixels in [{low:.9g}, {high:.9g}]: project its answers, with a margin for rounding"
        )
