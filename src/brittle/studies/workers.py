"""Who runs jobs: this process, or processes of this machine. Each job comes back whole, in whatever order.

Only the engine's process writes to the study file. Workers return results through pipes, so they hold no locks, may
die at any moment, and need not see the file (those of a cluster do not).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final, Protocol

from brittle.errors import UsageError
from brittle.studies.conditions import one_thread_in_new_processes
from brittle.studies.jobs import Failed, Finished, Job, Work, perform

# Results of one job.
Results = Sequence[Finished | Failed]

_READY: Final = "ready"


class Workers(Protocol):
    """A place where jobs run. `collect` is called only while jobs are out."""

    @property
    def free(self) -> int:
        """How many more jobs it takes now."""
        ...

    @property
    def out(self) -> int:
        """How many jobs were given and not yet collected."""
        ...

    def give(self, job: Job) -> None:
        """Start a job."""
        ...

    def collect(self, timeout: float | None) -> list[tuple[Job, Results]]:
        """Wait for news, `timeout` seconds at most (None: without end): the jobs that have ended, maybe none."""
        ...

    def close(self) -> None:
        """End all workers, whatever they do."""
        ...


class Here:
    """This process: one job at a time, run when it is collected."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._job: Job | None = None

    @property
    def free(self) -> int:
        """How many more jobs it takes now."""
        return 0 if self._job else 1

    @property
    def out(self) -> int:
        """How many jobs are under way."""
        return 1 if self._job else 0

    def give(self, job: Job) -> None:
        """Start a job."""
        self._job = job

    def collect(self, timeout: float | None) -> list[tuple[Job, Results]]:
        """Jobs that have ended, maybe none."""
        job, self._job = self._job, None
        return [(job, perform(job, self._work))] if job else []

    def close(self) -> None:
        """End all work."""
        self._job = None


class Processes:
    """Processes of this machine, started afresh (spawn), one thread each; one that dies is replaced.

    Args:
        work: what they do.
        count: how many.

    Raises:
        UsageError: functions that other processes cannot import.
    """

    def __init__(self, work: Work, count: int) -> None:
        check_portable(work)
        self._work = work
        self._workers: list[_Worker] = []
        try:
            for _ in range(count):
                self._workers.append(_Worker(work))
        except BaseException:
            self.close()
            raise

    @property
    def free(self) -> int:
        """How many more jobs it takes now."""
        return sum(worker.job is None for worker in self._workers)

    @property
    def out(self) -> int:
        """How many jobs are under way."""
        return len(self._workers) - self.free

    def give(self, job: Job) -> None:
        """Start a job."""
        next(worker for worker in self._workers if worker.job is None).give(job)

    def collect(self, timeout: float | None) -> list[tuple[Job, Results]]:
        """Jobs that have ended, maybe none."""
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        ended = []
        for pipe in wait(list(busy), timeout):
            assert isinstance(pipe, Connection)
            worker = busy[pipe]
            try:
                answer = pipe.recv()
            except (EOFError, OSError):
                ended.append(self._died(worker))
                continue
            if answer == _READY:
                worker.ready = True
            elif worker.job is not None:
                ended.append((worker.job, answer))
                worker.job = None
        return ended

    def _died(self, worker: _Worker) -> tuple[Job, Results]:
        """What it was at failed; a new one takes its place.

        Raises:
            UsageError: it never came to work, so another one would not either.
        """
        worker.process.join(2)  # the pipe's end may come before the exit code
        worker.end()
        code, job = worker.process.exitcode, worker.job
        if not worker.ready:
            raise UsageError(
                f"a worker process could not start (exit code {code}): its error is above; in a script of your own, "
                'call the study under `if __name__ == "__main__":`, or use 1 worker'
            )
        assert job is not None
        self._workers[self._workers.index(worker)] = _Worker(self._work)
        said = f"the worker process died with exit code {code} (a negative one is a signal; -9: often out of memory)"
        return job, [Failed(key, said) for key in job.keys if key in job.wanted]

    def close(self) -> None:
        """End all work."""
        for worker in self._workers:
            worker.end()
        self._workers = []


class _Worker:
    """One process, and this side of its pipe."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(other, work), daemon=True)
        self.job: Job | None = None
        self.ready = False
        with one_thread_in_new_processes():
            self.process.start()
        other.close()  # else its end would not be seen here when the process dies

    def give(self, job: Job) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # it died while idle: `collect` will meet the end of the pipe
            self.pipe.send(job)

    def end(self) -> None:
        self.process.terminate()
        self.process.join(5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.pipe.close()


def check_portable(work: Work) -> None:
    """Refuse functions that other processes cannot import.

    Raises:
        UsageError: a lambda, a function inside a function, or one of an interactive session.
    """
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"other processes cannot import the trial function ({error}): define it at the top of a module, "
            "or use 1 worker"
        ) from None


def _serve(pipe: Connection, work: Work) -> None:
    """A worker's life: jobs in, results out, until the pipe ends or the engine's process dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the engine's process answers it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send(_READY)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(perform(job, work))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
