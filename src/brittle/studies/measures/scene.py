"""One network and everything that its measures need; attacks that several of them look at are run once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.data.split import Split
from brittle.models.frozen import frozen
from brittle.operators.network import Network, read_network
from brittle.studies.tasks import Task
from brittle.studies.trial import Trial
from brittle.threats import Ball, ball

BATCH: Final = 500
# Test samples that attacks of largest loss are run on: means over them need fewer than accuracies do.
WORST_SAMPLES: Final = 250
_WORST: Final = WorstCase(APGD(steps=20))


@dataclass(frozen=True)
class Reading:
    """What one measure gives: numbers by dotted name, arrays by name."""

    numbers: dict[str, float]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scene:
    """The subject of all measures.

    Attributes:
        net: in eval mode; no measure changes it.
        task: what it was made for; measures score on `task.test` and fit on `task.learning.train`.
        trial: its configuration.
        task_named: gives the task of another DATA string, at the trial's sizes.
    """

    net: nn.Module
    task: Task
    trial: Trial
    task_named: Callable[[str], Task]
    _worst: dict[str, Tensor] = field(default_factory=dict)

    @property
    def test(self) -> Split:
        """The samples that results are scored on."""
        return self.task.test

    @cached_property
    def threats(self) -> dict[str, Ball]:
        """The trial's balls by key, such as "linf@0.05"."""
        return {threat.key: ball(threat.norm, threat.epsilon) for threat in self.trial.threats}

    @cached_property
    def few(self) -> Split:
        """At most 250 of the test samples, at random: some data sets are sorted by class."""
        return self.test.take(WORST_SAMPLES, self.trial.data_seed)

    @cached_property
    def network(self) -> Network:
        """The network as the operators see it."""
        return read_network(self.net, self.task.learning.input_shape)

    def worst(self, key: str) -> Tensor:
        """Points of largest cross-entropy that Auto-PGD-20 finds in the ball `key` around `few`, (n, *shape)."""
        if key not in self._worst:
            rows = torch.arange(len(self.few))
            with frozen(self.net):
                self._worst[key] = _WORST(
                    self.net, self.few.x, self.few.y, self.threats[key], indices=rows, seed=self.trial.seed
                )
        return self._worst[key]


Measure = Callable[[Scene], Reading]
