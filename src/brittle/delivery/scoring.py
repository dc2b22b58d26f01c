"""Every network on the same test samples, under the same attacks with the same seed, in the same number format.

Legend: n test samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from brittle.attacks.table import effort_named
from brittle.auditing.options import AuditOptions
from brittle.auditing.prepare import choose_dtype, twin
from brittle.auditing.progress import prefixed
from brittle.auditing.run import Subject
from brittle.auditing.store import fingerprint
from brittle.data.dataset import Dataset
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.checkpoint import Memory
from brittle.evaluation.intervals import wilson
from brittle.evaluation.progress import Progress
from brittle.files import make_folder
from brittle.operators.network import read_network
from brittle.results.audit import Audit
from brittle.results.compression import Robust, Scored

_SPLIT = "test"


@dataclass(frozen=True)
class Scoring:
    """What all networks are scored on, alike: the numbers are those that their audits would give.

    `options` fix samples, threats, attacks, seed and, for all networks, the number format that the parent gets;
    `folder` is where attacks keep their state, None for nowhere.
    """

    data: Dataset
    options: AuditOptions
    folder: Path | None

    @classmethod
    def of(cls, parent: nn.Module, data: Dataset, options: AuditOptions, folder: Path | None) -> Scoring:
        """The scoring that suits the parent.

        Raises:
            ModelError, DataError: a parent that cannot be measured.
        """
        split = data.split(_SPLIT).take(options.samples, options.seed)
        dtype = choose_dtype(read_network(parent, data.input_shape), options.dtype)
        found = twin(parent, split.x, split.y, dtype, options.device)
        return cls(data, replace(options, dtype=found.dtype), folder)

    def score(
        self, model: nn.Module, name: str, *, deadline: float | None = None, progress: Progress | None = None
    ) -> Scored:
        """Clean accuracy, and accuracy under attack at every radius that was reached before the deadline.

        Raises:
            ModelError, DataError: a model that cannot be measured.
        """
        options = self.options
        assert options.dtype is not None
        split = self.data.split(_SPLIT).take(options.samples, options.seed)
        x, y = split.x.to(options.dtype), split.y
        copied = twin(model, split.x, y, options.dtype, options.device).model
        right, _ = clean_right(copied, x, y, options.batch_size)
        rows = []
        for threat in options.threats(self.data.input_shape):
            done = attack_survivors(
                copied,
                x,
                y,
                threat,
                effort_named(options.effort),
                batch_size=options.batch_size,
                seed=options.seed,
                progress=prefixed(progress, f"{name}: {threat.norm}@{threat.epsilon:g} "),
                deadline=deadline,
                memory=self._memory(model, name),
            )
            if not done.complete:
                break
            survivors = int(done.survived.sum())
            attack = " + ".join(step.attack for step in done.steps)
            interval = wilson(survivors, len(y))
            rows.append(Robust(threat.norm, threat.epsilon, attack, survivors / len(y), interval))
        return _scored(len(y), int(right.sum()), rows)

    def complete(self, scored: Scored) -> bool:
        """Whether no radius is missing."""
        return len(scored.robust) == len(self.options.threats(self.data.input_shape))

    def _memory(self, model: nn.Module, name: str) -> Memory | None:
        if self.folder is None:
            return None
        mark = fingerprint(Subject(model, name), self.data, self.options)[:24]
        return Memory(make_folder(self.folder) / f"scores-{mark}", mark)


def scored_by(audit: Audit) -> Scored:
    """An audit's accuracies; of a partial audit the clean one only, since its attacks were cut short."""
    right = audit.outcomes.right["clean"]
    rows = (
        []
        if audit.partial
        else [Robust(r.norm, r.epsilon, r.attack, r.attacked, r.interval95) for r in audit.robustness]
    )
    return _scored(len(right), right.count("1"), rows)


def measured_dtype(scoring: Scoring) -> torch.dtype:
    """The number format that all networks are scored in."""
    assert scoring.options.dtype is not None
    return scoring.options.dtype


def _scored(n: int, right: int, rows: list[Robust]) -> Scored:
    return Scored(_SPLIT, n, right / n, wilson(right, n), tuple(rows))
