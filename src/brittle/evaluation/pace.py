"""How long attacks take, measured while they run, and how much of them still fits before a deadline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


class Pace:
    """Seconds for one sample and one gradient of an attack's `cost`: the mean of the attack's own batches so far.

    Attacks leave misclassified samples alone and may give others up, so they cost less than `cost` says, some far less;
    the mean has that in it. An attack's first batch is forecast from the batches of the attacks before it.

    Args:
        deadline: a reading of `time.monotonic()`; None for none.
    """

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self._seconds = 0.0
        self._gradients = 0
        self._fresh = False

    def next_attack(self) -> None:
        """Another attack begins: its own batches count as soon as there is one."""
        self._fresh = True

    @contextmanager
    def timing(self, cost: int, samples: int) -> Iterator[None]:
        """Measure an attack of that cost on that many samples."""
        started = monotonic()
        yield
        if self._fresh:
            self._seconds, self._gradients, self._fresh = 0.0, 0, False
        self._seconds += monotonic() - started
        self._gradients += cost * samples

    def seconds(self, cost: int, samples: int) -> float:
        """The forecast for that many samples; 0 as long as nothing was measured."""
        return self._seconds / self._gradients * cost * samples if self._gradients else 0.0

    def too_slow(self, cost: int, samples: int) -> bool:
        """Whether that many samples are forecast to end after the deadline."""
        return self.deadline is not None and self.seconds(cost, samples) > self.deadline - monotonic()

    def batch(self, cost: int, batch_size: int) -> int:
        """The most samples, up to `batch_size`, that are forecast to end before the deadline; 0 once it has passed.

        A batch of one starts whenever the deadline is still ahead.
        """
        if self.deadline is None:
            return batch_size
        if monotonic() >= self.deadline:
            return 0
        each = self.seconds(cost, 1)
        if each * batch_size <= self.deadline - monotonic():
            return batch_size
        return max(1, int((self.deadline - monotonic()) / each))
