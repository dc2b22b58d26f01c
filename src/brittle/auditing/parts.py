"""Which samples directions and universal perturbations are fitted on, and which they are scored on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.data.dataset import Dataset
from brittle.data.split import Split
from brittle.errors import DataError


@dataclass(frozen=True, eq=False)
class Parts:
    """Two disjoint sets of samples. `score_rows` are the scoring samples' positions in the audited split, (n,) int64.

    `source` says where the fitting samples came from: a split's name, or "half of test".
    """

    fit: Split
    score_rows: Tensor
    source: str


def parts(data: Dataset, split: Split, *, fit: int, score: int, seed: int) -> Parts:
    """At most `fit` training samples to fit on and `score` samples of the audited `split` to score on.

    Data with nothing but a test split are halved: even positions to fit on, odd ones to score on.

    Raises:
        DataError: fewer than two samples to halve, or whatever reading the training split raises.
    """
    for name in ("train", "validation"):
        if name in data.splits:
            return Parts(data.split(name).take(fit, seed), _spread(torch.arange(len(split)), score), name)
    if len(split) < 2:
        raise DataError(f"{data.name} has {len(split)} sample: directions need some to fit on and others to score on")
    even = _spread(torch.arange(0, len(split), 2), fit)
    return Parts(Split(split.x[even], split.y[even]), _spread(torch.arange(1, len(split), 2), score), "half of test")


def _spread(rows: Tensor, count: int) -> Tensor:
    """At most `count` of the rows, evenly spaced, in order."""
    if len(rows) <= count:
        return rows
    return rows[torch.arange(count) * len(rows) // count]
