"""Progress for people: a bar with the time left on a terminal, plain lines otherwise, always on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from brittle.evaluation.progress import Progress

# On something that is no terminal: at most one line per stage and this many seconds.
_QUIET_SECONDS = 10.0


@contextmanager
def progress_display(console: Console) -> Iterator[Progress]:
    """A callback (stage, done, total); a total of 0 is a remark, printed as it is."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def tell(stage: str, done: int, total: int) -> None:
            if total == 0:
                console.print(stage, markup=False)
                return
            if bar.tasks[0].description != stage:
                bar.reset(task, description=stage, total=total)
            bar.update(task, completed=done, total=total)

        yield tell


class _Lines:
    """One line when a stage starts, and now and then while it lasts."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stage = ""
        self.last = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = monotonic()
        if total == 0:
            self.console.print(stage, markup=False)
        elif stage != self.stage or now - self.last > _QUIET_SECONDS:
            self.console.print(f"{stage}: {done} of {total}", markup=False)
            self.stage, self.last = stage, now
