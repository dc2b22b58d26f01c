"""Other sizes and rival methods beside the chosen network, all made and scored alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from brittle.delivery.clock import TimeIsUpError
from brittle.delivery.job import Job
from brittle.delivery.options import RIVALS
from brittle.delivery.points import point
from brittle.delivery.scoring import Scoring
from brittle.delivery.stages import Made
from brittle.errors import BrittleError, UsageError
from brittle.results.compression import FrontPoint

# A rival whose units are too coarse for a size is given a little less, down to about two thirds.
_STEP, _STEPS = 0.97, 14


@dataclass(eq=False)
class Sweep:
    """Points of the picture, the chosen method's networks by share, and what could not be done."""

    points: list[FrontPoint] = field(default_factory=list)
    models: dict[float, nn.Module] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complete: bool = True


def sweep(job: Job, scoring: Scoring, starts: Mapping[float, Made]) -> Sweep:
    """Recover and score the chosen method and the rivals at every share; `starts` are networks that are made already.

    The share of the chosen network itself is left out for the chosen method. A rival that cannot reach a size, and
    whatever the time limit leaves out, becomes a note.

    Raises:
        BrittleError: a recovery of the chosen method that diverges.
    """
    found = Sweep()
    chosen, keep = job.options.method, job.options.keep
    rivals = [method for method in RIVALS if method != chosen]
    for share in sorted({keep, *job.options.sweep}, reverse=True):
        for method in (chosen, *rivals):
            if method == chosen and share == keep:
                continue
            name = f"{method} at {share:g}"
            try:
                if method == chosen:
                    start = starts[share] if share in starts else job.compressed(method, share)
                    made = job.recovered(method, share, start)
                    found.models[share] = made.model
                else:
                    made = _rival(job, method, share)
            except TimeIsUpError:
                found.complete = False
                found.notes.append(f"{name} was left out at the time limit")
                continue
            except BrittleError as error:
                if method == chosen:
                    raise
                found.notes.append(f"{name} is not on the picture: {error}")
                continue
            scores = scoring.score(made.model, name, deadline=job.clock.end, progress=job.progress)
            if scoring.complete(scores):
                found.points.append(point(name, method, share, made.model, scores))
            else:
                found.complete = False
                found.notes.append(f"{name} was not scored to the end at the time limit")
    return found


def _rival(job: Job, method: str, share: float) -> Made:
    """The rival at that share, or at the next smaller size that it reaches: the picture shows what size it has."""
    refusal: UsageError | None = None
    for step in range(_STEPS):
        nearby = share * _STEP**step
        try:
            start = job.compressed(method, nearby)
        except UsageError as error:
            refusal = refusal or error
            continue
        return job.recovered(method, nearby, start)
    assert refusal is not None
    raise refusal
