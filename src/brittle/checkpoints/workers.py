"""Who measures: this process, or several, one matrix at a time each and with one thread, so that numbers agree."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from time import monotonic

import torch

from brittle.checkpoints.measure import measure_matrix
from brittle.checkpoints.options import CheckpointOptions
from brittle.checkpoints.plan import Matrix
from brittle.errors import UsageError
from brittle.results.layer import Unmeasured
from brittle.results.structure import MatrixStructure

Row = MatrixStructure | Unmeasured


def measured(
    matrices: Sequence[Matrix], options: CheckpointOptions, deadline: float | None
) -> Iterator[tuple[Matrix, Row]]:
    """Each matrix with its row, as they are finished; none is begun after the deadline (of `time.monotonic`).

    Raises:
        UsageError: a worker process was killed from outside, as for want of memory.
        ModelError: a file is missing or broken.
    """
    if options.workers == 1 or len(matrices) < 2:
        yield from _here(matrices, options, deadline)
    else:
        yield from _in_processes(matrices, options, deadline)


def _late(deadline: float | None) -> bool:
    return deadline is not None and monotonic() >= deadline


def _here(
    matrices: Sequence[Matrix], options: CheckpointOptions, deadline: float | None
) -> Iterator[tuple[Matrix, Row]]:
    for matrix in matrices:
        if _late(deadline):
            return
        yield matrix, _with_one_thread(matrix, options)


def _with_one_thread(matrix: Matrix, options: CheckpointOptions) -> Row:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure_matrix(matrix, options)
    finally:
        torch.set_num_threads(before)


def _in_processes(
    matrices: Sequence[Matrix], options: CheckpointOptions, deadline: float | None
) -> Iterator[tuple[Matrix, Row]]:
    waiting = list(reversed(matrices))
    running: dict[Future[Row], Matrix] = {}
    pool = ProcessPoolExecutor(
        min(options.workers, len(matrices)), multiprocessing.get_context("spawn"), initializer=_begin
    )
    try:
        while True:
            while waiting and len(running) < options.workers and not _late(deadline):
                matrix = waiting.pop()
                running[pool.submit(measure_matrix, matrix, options)] = matrix
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                matrix = running.pop(future)
                yield matrix, future.result()
    except BrokenProcessPool:
        raise UsageError(
            "a worker process was killed, most likely for want of memory: use fewer workers (finished matrices are "
            "kept where a folder to resume from was given)"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """A worker's first act: one thread, Ctrl-C left to the parent, and an end with the parent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
