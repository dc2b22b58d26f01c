"""The conditions that every trial finds, in whatever process and order it runs: one thread, fresh global generators."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

# Read by OpenMP and BLAS libraries when they are loaded, which in a fresh process happens after this.
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@contextmanager
def alone() -> Iterator[None]:
    """One thread for all arithmetic and global random generators as in a new process; both put back at the end.

    Trials take explicit seeds; this makes their numbers independent of what ran before even where a library draws
    from a global generator, and of how many workers share the machine (sums of another number of threads round
    differently).
    """
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        with threadpool_limits(1), _torch_alone():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _torch_alone() -> Iterator[None]:
    """The same of torch, where it is loaded: trials that do without should not wait for it."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def one_thread_in_new_processes() -> Iterator[None]:
    """Processes started inside find `ONE_THREAD` in their environment."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
