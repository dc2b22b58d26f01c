"""A time limit over several stages: what may still start, and how a stage that runs is stopped."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from brittle.evaluation.progress import Progress

# Of the limit, what is kept for measuring: a smaller network that nobody measured is of no use.
_MEASURING = 0.3
# Time left when there is none: attacks that have not begun are skipped and marked.
_NO_TIME = 1e-6


class TimeIsUpError(Exception):
    """A stage met the time limit; its caller knows what there is without it."""


@dataclass(frozen=True)
class Clock:
    """Two readings of `time.monotonic()`, None for no limit: when making must end, and when everything must."""

    making: float | None
    end: float | None

    @classmethod
    def start(cls, limit: float | None) -> Clock:
        """A clock that runs from now on; `limit` in seconds."""
        if limit is None:
            return cls(None, None)
        now = monotonic()
        return cls(now + (1 - _MEASURING) * limit, now + limit)

    def left(self) -> float | None:
        """Seconds until the end, always above 0; None without a limit."""
        return None if self.end is None else max(self.end - monotonic(), _NO_TIME)

    @property
    def over(self) -> bool:
        """Whether the end has come."""
        return self.end is not None and monotonic() >= self.end

    def check(self) -> None:
        """Go on only where making may go on.

        Raises:
            TimeIsUpError: it may not.
        """
        if self.making is not None and monotonic() >= self.making:
            raise TimeIsUpError

    def stopping(self, progress: Progress | None) -> Progress:
        """The callback, which ends the work that calls it when the time for making is over."""

        def tell(stage: str, done: int, total: int) -> None:
            self.check()
            if progress is not None:
                progress(stage, done, total)

        return tell
