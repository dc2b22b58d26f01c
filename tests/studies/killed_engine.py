"""A program for tests: engines on one file, each killed with SIGKILL after a random while, 50 of them.

Arguments: the file, how many trials, a seed. It forks, so that a life costs milliseconds and no interpreter's start.
Prints how many were killed at work.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from brittle.studies.engine import run_trials
from brittle.studies.keys import code_version
from brittle.studies.store import Store
from tests.studies.cheap import slow, trials

KILLS = 50


def main() -> None:
    path, count, generator = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    code_version()  # read once here, not in each short life
    killed = 0
    for _ in range(KILLS):
        child = os.fork()
        if not child:
            with Store(path) as store:
                run_trials(trials(count), store, slow)
            os._exit(0)
        time.sleep(generator.uniform(0.005, 0.22))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
    print(killed)


if __name__ == "__main__":
    main()
