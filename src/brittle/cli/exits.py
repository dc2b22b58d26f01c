"""Exit codes of the command line."""

from __future__ import annotations

DONE = 0
GATE_FAILED = 1
BAD_INPUT = 2
STOPPED = 3
INTERNAL = 70  # sysexits.h: an error in the software itself
INTERRUPTED = 130
