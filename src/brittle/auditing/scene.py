"""What the stages after the brackets share: the model and samples they work on, and how one stage is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from torch import Tensor, nn

from brittle.auditing.depth import Depth
from brittle.auditing.parts import Parts
from brittle.auditing.progress import prefixed
from brittle.data.split import Split
from brittle.errors import BrittleError
from brittle.evaluation.checkpoint import Memory, kept
from brittle.evaluation.progress import Progress
from brittle.results.audit import Check
from brittle.threats import Ball

T = TypeVar("T")


@dataclass
class Diary:
    """Why stages gave nothing; `complete` is False once one was left out for lack of time."""

    notes: list[Check] = field(default_factory=list)
    complete: bool = True


@dataclass(frozen=True, eq=False)
class Scene:
    """What every stage works on: the measured copy of the model, samples in its number format, settings.

    `x`, `y` are the audited samples; `parts` says which of them are scored, and holds the fitting samples.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    parts: Parts
    threats: tuple[Ball, ...]
    depth: Depth
    directions: int
    classes: tuple[str, ...]
    batch_size: int
    seed: int
    memory: Memory | None
    progress: Progress | None
    deadline: float | None
    diary: Diary = field(default_factory=Diary)

    def fit(self, count: int) -> Split:
        """At most `count` fitting samples, in the model's number format."""
        return Split(self.parts.fit.x[:count].to(self.x.dtype), self.parts.fit.y[:count])

    @property
    def largest(self) -> tuple[Ball, ...]:
        """The largest radius of each norm."""
        last = {threat.norm: threat for threat in self.threats}
        return tuple(last.values())

    def scored(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """At most `count` scoring samples: pixels, labels, positions in the audited split."""
        rows = self.parts.score_rows[:count]
        return self.x[rows], self.y[rows], rows

    def told(self, stage: str) -> Progress | None:
        """The progress callback for one stage."""
        return prefixed(self.progress, f"{stage}: ")

    def stage(self, name: str, work: Callable[[], T]) -> T | None:
        """The work's answer; None, with an entry in the diary, where time is up or the model does not allow it."""
        if self.deadline is not None and monotonic() >= self.deadline:
            self.diary.complete = False
            return None
        try:
            return work()
        except BrittleError as error:
            self.diary.notes.append(Check(name, "warning", f"not measured: {error}"))
            return None

    def record(self, name: str, record: Any, work: Callable[[], Any], *facts: object) -> Any:
        """A stage that gives a `record`, kept so that an interrupted audit does not do it again; None as in `stage`."""
        return self.stage(name, lambda: kept(self.memory, self.key(name, *facts), record, work))

    def key(self, name: str, *facts: object) -> str:
        """The memory's key of one stage."""
        if self.memory is None:
            return ""
        settings = (self.depth, self.directions, self.batch_size, self.seed, *facts)
        return self.memory.key(name, settings=settings)
