"""Looks at a model between the steps of its training, which must not change it or the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from brittle.models.frozen import frozen
from brittle.results.training import Tracked, TrackedAccuracy
from brittle.training.protocols import Judged


@contextmanager
def held_still(model: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Eval mode, parameters held, and the global random state put back, which an attack may seed."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), frozen(model):
        yield model


def accuracies_alone(n: int, clean: float, attacked: tuple[TrackedAccuracy, ...]) -> Tracked:
    """The record of a look that measured nothing else."""
    return Tracked(
        n=n,
        clean=clean,
        attacked=attacked,
        k_fraction=0.1,
        layers=(),
        products={},
        why="only accuracies were watched",
    )


def both_seen(tracked: Tracked | None, judged: Judged | None) -> Tracked | None:
    """What an epoch's row shows: what was watched, with what the judge saw added."""
    seen = None if judged is None else judged.seen
    if tracked is None or seen is None:
        return seen if tracked is None else tracked
    return replace(tracked, attacked=(*tracked.attacked, *seen.attacked))
