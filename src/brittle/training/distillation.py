"""Distillation: a net learns the predictions of another one, its teacher, on clean or on attacked samples.

Legend: b samples, c classes; t the teacher's logits at the clean sample, s the net's own, T the temperature.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.errors import UsageError
from brittle.evaluation.checkpoint import hash_tensors
from brittle.models.frozen import frozen
from brittle.threats import Ball
from brittle.training.adversarial.inner import (
    ball_start,
    check_share,
    check_step,
    check_steps,
    check_threat,
    climb,
    room_around,
)
from brittle.training.adversarial.members import spread_rows
from brittle.training.adversarial.trades import divergence
from brittle.training.objective import Stateless
from brittle.training.protocols import Generators, Loss


@dataclass(frozen=True, eq=False, repr=False)
class Teacher:
    """A net to learn from: asked in eval mode, never changed. Its printed form tells its weights from others.

    Attributes:
        model: pixels (b, *shape) -> logits (b, classes).
    """

    model: nn.Module
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        tensors = [value for value in self.model.state_dict().values() if isinstance(value, Tensor)]
        object.__setattr__(self, "digest", hash_tensors(*tensors))

    def __repr__(self) -> str:
        return f"Teacher({self.digest})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Teacher) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def check_soft(temperature: float, labels: float) -> None:
    """Refuse a temperature that is no positive number, and a weight of the labels outside [0, 1].

    Raises:
        UsageError: with the number that came.
    """
    if not (isfinite(temperature) and temperature > 0):
        raise UsageError(f"a temperature must be a positive number, got {temperature!r}: 1 is usual")
    if not 0 <= labels <= 1:
        raise UsageError(f"the weight of the labels lies in [0, 1], got {labels!r}: 0 leaves them out")


@dataclass(frozen=True)
class Distillation:
    """`(1 - labels) T^2 KL(softmax(t / T) || softmax(s(x') / T)) + labels * -log softmax(s(x'))_y`, nats.

    t are the teacher's logits at the clean sample. With a threat x' is where projected gradient ascent from a random
    point of the ball takes `KL(softmax(t) || softmax(s))`, the inner maximisation of RSLAD (Zi et al. 2021); a share of
    each batch can be left clean. The outer loss is the one of ARD (Goldblum et al. 2020). Without a threat x' = x:
    plain distillation (Hinton et al. 2015). The net is attacked in eval mode, as in `PGDTraining`.

    Attributes:
        teacher: its predictions are learnt; its forward pass has no gradient and does not count in `cost`.
        threat: an l_inf or l_2 ball, pixel units; None for clean samples alone.
        steps: of the ascent.
        step_size: of each, as a multiple of epsilon.
        share: of the samples of a batch that are attacked.
        temperature: T > 0; T^2 keeps the size of the gradient.
        labels: weight of the labels' own cross-entropy, in [0, 1].

    Raises:
        UsageError: another ball, or a number out of its range.
    """

    teacher: Teacher
    threat: Ball | None = None
    steps: int = 10
    step_size: float = 0.25
    share: float = 1.0
    temperature: float = 1.0
    labels: float = 0.0

    def __post_init__(self) -> None:
        if self.threat is not None:
            check_threat(self.threat)
        check_steps(self.steps)
        check_step(self.step_size)
        check_share(self.share)
        check_soft(self.temperature, self.labels)

    @property
    def name(self) -> str:
        """Such as "distil-T1-linf-0.0313725-10x0.25", or "distil-T4-labels0.5" without a threat."""
        labels = f"-labels{self.labels:g}" if self.labels else ""
        name = f"distil-T{self.temperature:g}{labels}"
        if self.threat is None:
            return name
        share = "" if self.share == 1 else f"-share{self.share:g}"
        return f"{name}-{self.threat.norm}-{self.threat.epsilon:g}-{self.steps}x{self.step_size:g}{share}"

    @property
    def cost(self) -> float:
        """`1 + share * steps`; 1 without a threat. The teacher's forward pass is not counted."""
        return 1.0 if self.threat is None else 1 + self.share * self.steps

    def start(self) -> Loss:
        """The loss."""
        return _Distilled(self)


class _Distilled(Stateless):
    def __init__(self, settings: Distillation) -> None:
        self._settings = settings
        self._teacher = settings.teacher.model

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, generator: Generators) -> Tensor:
        how = self._settings
        taught = self._taught(x)
        logits = model(self._points(model, x, taught, generator))
        hot = how.temperature
        soft = hot**2 * divergence(logits / hot, F.log_softmax(taught / hot, 1))
        if how.labels == 0:
            return soft
        return (1 - how.labels) * soft + how.labels * F.cross_entropy(logits, y, reduction="none")

    def _taught(self, x: Tensor) -> Tensor:
        """The teacher's logits at x, (b, c)."""
        like = next(self._teacher.parameters(), x)
        if (like.dtype, like.device) != (x.dtype, x.device):  # a copy: the teacher stays where it is
            self._teacher = copy.deepcopy(self._teacher).to(x)
        with frozen(self._teacher), torch.no_grad():
            logits: Tensor = self._teacher(x)
        return logits

    def _points(self, model: nn.Module, x: Tensor, taught: Tensor, generator: Generators) -> Tensor:
        """What the loss is taken at, (b, *shape): attacked samples and others, in the order of x."""
        how = self._settings
        if how.threat is None:
            return x
        rows = spread_rows(x, how.share, generator)
        centre, goal = x[rows], F.log_softmax(taught[rows], 1)
        room = room_around(how.threat, centre)
        begin = ball_start(centre, room, generator)
        with frozen(model):
            found = climb(model, centre, goal, begin, room, divergence, how.steps, how.step_size)
        return x.index_copy(0, rows, found)
