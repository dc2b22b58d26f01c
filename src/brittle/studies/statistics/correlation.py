"""Pearson's and Spearman's correlation of outcome and predictor over all networks of a cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from brittle.errors import UsageError
from brittle.studies.statistics.over_seeds import bootstrap_interval
from brittle.studies.statistics.table import Array


@dataclass(frozen=True)
class Coefficient:
    """A correlation with its 95 % interval over seeds; 0 in [-1, 1] where one side is constant: nothing is known."""

    value: float
    interval95: tuple[float, float]


def pearson(x: Array, y: Array, seed: int, resamples: int = 2_000) -> Coefficient:
    """Pearson's r over the n k networks, with a bootstrap over seeds (all levels of a seed stay together).

    The interval describes; with five seeds it is a little narrow, and no verdict rests on it.

    Args:
        x: (n, k).
        y: (n, k).
        seed: of the resampling.
        resamples: bootstrap draws.

    Raises:
        UsageError: tables of different shape, or fewer than 2 seeds or levels.
    """
    return _coefficient(_pearson, *_pair(x, y), seed, resamples)


def spearman(x: Array, y: Array, seed: int, resamples: int = 2_000) -> Coefficient:
    """Spearman's rho over the n k networks: Pearson's r of midranks, ranked anew in every resample.

    Arguments, interval and errors as `pearson`.
    """
    return _coefficient(_spearman, *_pair(x, y), seed, resamples)


def spearman_within(x: Array, y: Array) -> Array:
    """(n,) Spearman's rho over the levels of each seed alone; 0 where a side is constant."""
    x, y = _pair(x, y)
    return np.nan_to_num(_spearman(x, y), nan=0.0)


def _coefficient(
    statistic: Callable[[Array, Array], Array], x: Array, y: Array, seed: int, resamples: int
) -> Coefficient:
    value = float(statistic(x[None], y[None])[0])
    if np.isnan(value):
        return Coefficient(0.0, (-1.0, 1.0))
    return Coefficient(value, bootstrap_interval((x, y), statistic, seed, 0.95, resamples))


def _pair(x: Array, y: Array) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 2 or min(x.shape) < 2:
        raise UsageError(
            f"expected two tables of one shape (seeds, levels), at least 2 of each, got {x.shape} and {y.shape}"
        )
    return x, y


def _pearson(x: Array, y: Array) -> Array:
    """(b, ...) -> (b,): over all but the first axis."""
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    length = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 0, np.clip((x * y).sum(1) / length, -1, 1), np.nan)


def _spearman(x: Array, y: Array) -> Array:
    return _pearson(stats.rankdata(x.reshape(len(x), -1), axis=1), stats.rankdata(y.reshape(len(y), -1), axis=1))
