"""The evidence in parts, so that nothing is measured on what it was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from brittle.compression.planning.measure import Bench
from brittle.compression.protocols import Evidence
from brittle.errors import DataError

# What becomes of every five samples, in turn: fitted to, measured on while choosing, or held for the outcome.
_FITTED, _CHOSEN, _HELD, _PERIOD = (0, 2), (1, 3), (4,), 5
# Of the first so many; all samples after them are fitted to. More to choose by would cost every candidate time, more
# to fit the answer to costs it once.
SHARED = 2500
LEAST_SAMPLES = 50


def parts(evidence: Evidence) -> tuple[Evidence, Evidence, Evidence]:
    """Samples to fit to, to choose by, and to measure the outcome on: two fifths, two fifths and one fifth.

    Samples beyond the first 2,500 are all fitted to, after the others.

    Raises:
        DataError: fewer than 50 samples.
    """
    if len(evidence.x) < LEAST_SAMPLES:
        raise DataError(f"auto needs at least {LEAST_SAMPLES} training samples to choose from, got {len(evidence.x)}")
    return _part(evidence, _FITTED), _part(evidence, _CHOSEN), _part(evidence, _HELD)


def doubled(board: Bench, evidence: Evidence) -> Evidence:
    """Each sample of the bench, and after it its adversarial example where there is one."""
    if board.x_adv is None:
        return evidence
    both = torch.stack([board.x, board.x_adv], dim=1).flatten(0, 1)
    return replace(evidence, x=both, y=board.y.repeat_interleave(2))


def joined(first: Evidence, second: Evidence) -> Evidence:
    """All samples of both: in turn as long as both have some, so that the first ones are of both, then the others."""
    n = min(len(first.x), len(second.x))
    x = torch.stack([first.x[:n], second.x[:n]], dim=1).flatten(0, 1)
    y = torch.stack([first.y[:n], second.y[:n]], dim=1).flatten(0, 1)
    return replace(first, x=torch.cat([x, first.x[n:], second.x[n:]]), y=torch.cat([y, first.y[n:], second.y[n:]]))


def leading(evidence: Evidence, count: int) -> Evidence:
    """The first `count` samples, or all where there are no more."""
    return replace(evidence, x=evidence.x[:count], y=evidence.y[:count])


def _part(evidence: Evidence, places: Sequence[int]) -> Evidence:
    """The samples at these places of every five."""
    at = torch.arange(len(evidence.x))
    taken = torch.isin(at % _PERIOD, torch.tensor(places))
    taken = torch.where(at < SHARED, taken, torch.tensor(places == _FITTED)).to(evidence.x.device)
    return replace(evidence, x=evidence.x[taken], y=evidence.y[taken])
