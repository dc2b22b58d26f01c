"""Making a trial's network. Nothing here can see the test split: makers are given what may be learned from, no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from brittle.studies.sources.afterwards import compressed_afterwards, planted
from brittle.studies.sources.interventions import intervened
from brittle.studies.sources.scratch import from_scratch, train_together
from brittle.studies.tasks import Learning
from brittle.studies.trial import Trial

Maker = Callable[[Trial, Learning, Path | None], nn.Module]

# The kind of a trial's source -> what makes its network, in eval mode.
SOURCES: dict[str, Maker] = {
    "dense": from_scratch,
    "penalty": from_scratch,
    "rank": from_scratch,
    "width": from_scratch,
    "dynamics": from_scratch,
    "scale": from_scratch,
    "post-hoc": compressed_afterwards,
    "intervention": intervened,
    "spectrum": planted,
}


def make(trial: Trial, learning: Learning, memory: Path | None = None) -> nn.Module:
    """The trial's network, in eval mode: a function of the trial and the samples alone.

    Args:
        trial: what to make.
        learning: training and validation samples, and nothing else.
        memory: a folder for what trials share; None to make everything anew, to the same bits.

    Raises:
        BrittleError: a trial that cannot be carried out.
    """
    return SOURCES[trial.source.kind](trial, learning, memory).eval()


def make_group(trials: Sequence[Trial], learning: Learning, memory: Path | None = None) -> list[nn.Module]:
    """The networks of trials on one task, in their order: as `make`, up to rounding, where they are trained together.

    Those that training alone makes are trained together, the others one by one.
    """
    together = [i for i, trial in enumerate(trials) if SOURCES[trial.source.kind] is from_scratch]
    nets: dict[int, nn.Module] = {}
    if together:
        nets.update(zip(together, train_together([trials[i] for i in together], learning), strict=True))
    return [nets[i].eval() if i in nets else make(trial, learning, memory) for i, trial in enumerate(trials)]
