"""A program for tests: one engine. Arguments: the file, the memory, the trial function, how many trials, workers."""

from __future__ import annotations

import sys
from pathlib import Path

from brittle.studies.engine import run_trials
from brittle.studies.store import Store
from tests.studies import cheap

if __name__ == "__main__":
    path, memory, function, count, workers = sys.argv[1:]
    with Store(path) as store:
        run_trials(cheap.trials(int(count)), store, getattr(cheap, function), workers=int(workers), memory=Path(memory))
