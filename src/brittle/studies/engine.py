"""The engine: runs what has no answer yet, wherever there is room, and writes each answer down at once.

It may be killed at any moment and started again; several engines may share one file. Answers depend neither on the
number of workers nor on the order.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from brittle.errors import DataError, UsageError
from brittle.evaluation.progress import Progress
from brittle.files import make_folder
from brittle.studies.batches import groups
from brittle.studies.jobs import Failed, GroupFunction, Job, TrialFunction, Work
from brittle.studies.keys import trial_key
from brittle.studies.lease import BEAT, Holder, new_holder
from brittle.studies.ray_workers import OnRay
from brittle.studies.store import Store
from brittle.studies.trial import Trial
from brittle.studies.workers import Here, Processes, Workers

# Between two looks at trials that another engine has taken, seconds.
_LOOK: Final = 0.2


@dataclass(frozen=True)
class Ran:
    """What a run of the engine did.

    Attributes:
        wanted: different trials asked for.
        already: of those, answered before.
        finished: answered by this run.
        failed: that raised in this run.
        missing: without an answer at the end, failed ones among them.
        stopped: whether the deadline kept trials from being started.
        seconds: wall time.
    """

    wanted: int
    already: int
    finished: int
    failed: int
    missing: int
    stopped: bool
    seconds: float


def run_trials(
    trials: Sequence[Trial],
    store: Store,
    trial_function: TrialFunction,
    *,
    group_function: GroupFunction | None = None,
    workers: int = 1,
    ray: str | None = None,
    memory: Path | None = None,
    retry: bool = False,
    reuse: Sequence[str] = (),
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Ran:
    """Answer all trials that the store has no answer of.

    A trial that raises is written down with its traceback, and the others go on. Trials that another engine is at are
    waited for. When the process is interrupted the trials at work are given up, and a later run takes them again.

    Args:
        trials: which ones; equal ones are run once.
        store: where answers are, and where they go.
        trial_function: runs one; at the top of a module where it is to run in other processes.
        group_function: runs trials that differ in little together, for the same results up to rounding; None for one
            by one. Groups are those of all `trials`, answered or not, so that a resumed run gives what an uninterrupted
            one does; `Store.together` tells which trials they were.
        workers: processes; 1 for this process. With `ray`, tasks at a time.
        ray: address of a Ray cluster, or "local" (see `ray_workers`).
        memory: a folder for what trials share, made where it is missing.
        retry: also run the trials that failed before, once.
        reuse: other code versions whose answers are good enough, see `Store.rows`.
        deadline: a reading of `time.monotonic()` after which no trial is started; those at work are finished.
        progress: told ("trials", done, to do) after each trial, and remarks.

    Raises:
        UsageError: `workers` below 1, functions that the workers cannot import, workers that do not start, no Ray, or a
            folder that cannot be made.
        DataError: the store cannot be written any more.
    """
    if workers < 1:
        raise UsageError(f"workers must be at least 1, got {workers}: 1 runs all trials in this process")
    if memory is not None:
        make_folder(memory)
    started = time.monotonic()
    asked = {trial_key(trial): trial for trial in trials}
    already = store.answered(asked.values(), reuse)
    tries = {failure.key: failure.tries for failure in store.failures(asked.values())}
    left = {key for key in asked if key not in already and (retry or key not in tries)}
    run = _Run(store, asked, tries, new_holder(time.time()), deadline, progress, len(left))
    jobs = _jobs(asked, left, grouped=group_function is not None)
    if jobs:
        run.remark(f"{len(already)} of {len(asked)} trials have their answers already" if already else "")
        with _alive(store.path, run.holder), _workers(Work(trial_function, group_function, memory), workers, ray) as at:
            try:
                run.work(jobs, at)
            finally:
                store.release(run.holder.owner)
    missing = len(asked) - len(store.answered(asked.values(), reuse))
    seconds = time.monotonic() - started
    return Ran(len(asked), len(already), run.finished, run.failed, missing, run.stopped, seconds)


def _jobs(asked: dict[str, Trial], left: set[str], grouped: bool) -> list[Job]:
    """All that is left to do; members of a group that have answers come along: the others must see the same group."""
    keys = {trial: key for key, trial in asked.items()}
    parts = groups(tuple(asked.values())) if grouped else tuple((trial,) for trial in asked.values())
    named = [(part, tuple(keys[trial] for trial in part)) for part in parts]
    return [Job(part, own, frozenset(own) & left) for part, own in named if left.intersection(own)]


class _Run:
    """One run of the engine under way."""

    def __init__(
        self,
        store: Store,
        asked: dict[str, Trial],
        tries: dict[str, int],
        holder: Holder,
        deadline: float | None,
        progress: Progress | None,
        total: int,
    ) -> None:
        self.holder = holder
        self.finished = self.failed = self._elsewhere = 0
        self.stopped = False
        self._store, self._asked, self._tries = store, asked, tries
        self._deadline, self._progress, self._total = deadline, progress, total
        self._said_waiting = False

    def remark(self, text: str) -> None:
        """Tell something that is no step; nothing where there is no text."""
        if self._progress is not None and text:
            self._progress(text, 0, 0)

    def work(self, jobs: Sequence[Job], at: Workers) -> None:
        """Until every job is done, here or by another engine, or the deadline has passed."""
        ready, later = deque(jobs), list[Job]()
        self._tell()
        while ready or later or at.out:
            while ready and at.free and not self._late():
                job = self._claimed(ready.popleft(), later)
                if job.wanted:
                    at.give(job)
            if at.out:
                for _, results in at.collect(None):
                    self._store.finish(results, self._asked, self.holder.owner)
                    self._count(results)
            elif self._late():
                self.stopped = True
                return
            elif not ready:
                self._wait_for_others(later)
                ready, later = deque(later), []

    def _claimed(self, job: Job, later: list[Job]) -> Job:
        """The job with what of it is ours; what others are at goes to `later`."""
        claims = self._store.claim(sorted(job.wanted), self.holder, self._tries)
        taken = frozenset(key for key, claim in claims.items() if claim == "taken")
        if taken:
            later.append(replace(job, wanted=taken))
        gone = sum(claim in ("finished", "failed") for claim in claims.values())
        if gone:
            self._elsewhere += gone
            self._tell()
        return replace(job, wanted=frozenset(key for key, claim in claims.items() if claim == "mine"))

    def _wait_for_others(self, later: Sequence[Job]) -> None:
        if not later:
            return
        if not self._said_waiting:
            self._said_waiting = True
            self.remark(f"{sum(len(job.wanted) for job in later)} trials are being run by another process: waiting")
        time.sleep(_LOOK)

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _count(self, results: Sequence[object]) -> None:
        failed = sum(isinstance(result, Failed) for result in results)
        self.failed += failed
        self.finished += len(results) - failed
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress("trials", self.finished + self.failed + self._elsewhere, self._total)


@contextmanager
def _workers(work: Work, count: int, ray: str | None) -> Iterator[Workers]:
    at: Workers
    if ray is not None:
        at = OnRay(work, ray, count if ray == "local" or count > 1 else None)
    elif count > 1:
        at = Processes(work, count)
    else:
        at = Here(work)
    try:
        yield at
    finally:
        at.close()


@contextmanager
def _alive(path: Path, holder: Holder) -> Iterator[None]:
    """Now and then the file hears that the holder lives, for engines that cannot see its process."""
    end = threading.Event()

    def beat() -> None:
        while not end.wait(BEAT):
            try:
                with Store(path, create=False) as store:
                    store.beat(holder.owner)
            except (DataError, UsageError):  # the engine's own next transaction says so where it lasts
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
