"""Orders and fixed cuts of samples that never change: the same on every machine and with every numpy version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]

# How ten samples in a row are dealt out: 60, 10 and 30 percent where the source has no test part, and 90 and 10 where
# it has one but no validation part. Each name is spread over the ten, so that small classes are cut evenly as well.
WHOLE = ("train", "test", "train", "validation", "train", "test", "train", "train", "test", "train")
TRAINING = ("train",) * 5 + ("validation",) + ("train",) * 4

# Part of what a data set *is*, so it has nothing to do with the seed a user chooses.
_CUT_SEED = 20250525


def shuffled(n: int, seed: int | Sequence[int]) -> Index:
    """A permutation of 0 .. n - 1 that depends on `n` and `seed` (non-negative) alone.

    numpy promises the raw bits of PCG64 for all time, but not what `permutation` makes of them: so sort raw keys.
    """
    keys = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(n)
    return np.argsort(keys, kind="stable").astype(np.int64)


def stratified_part(part: str, y: NDArray[np.integer], deal: Sequence[str]) -> Index:
    """Ascending indices of the samples that go to one part in a fixed stratified cut; y is (n,).

    Like dealing cards: samples are sorted by class, each class shuffled by a fixed seed, and the j-th of all goes to
    `deal[j % len(deal)]`. So parts are disjoint, cover all samples, and have the right share of the whole and, to
    within about one sample, of every class.
    """
    order = [np.flatnonzero(y == label) for label in np.unique(y)]
    order = [members[shuffled(len(members), (_CUT_SEED, rank))] for rank, members in enumerate(order)]
    dealt = np.concatenate(order) if order else np.zeros(0, np.int64)
    places = np.flatnonzero(np.array(deal) == part)
    return np.sort(dealt[np.isin(np.arange(len(dealt)) % len(deal), places)])
