"""Who runs a trial: a process that can be seen to live, so that the trials of a dead one are taken again."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# A holder on another machine, whose process cannot be looked at, says that it lives this often; after the second
# number of seconds without a word it counts as dead.
BEAT: Final = 20.0
SILENCE: Final = 300.0
# Elsewhere there is no harmless signal to ask a process with.
_CAN_ASK: Final = os.name == "posix"


@dataclass(frozen=True)
class Holder:
    """An engine at work.

    Attributes:
        owner: of one run of the engine; no other has it.
        host: the machine (and, in containers, the process namespace) whose process numbers `pid` is one of.
        pid: of the process.
        born: when it started, by the machine's clock: process numbers are used again.
        seen: seconds since 1970 of its last word.
    """

    owner: str
    host: str
    pid: int
    born: str
    seen: float

    def lives(self, now: float) -> bool:
        """Whether its trials are still being run at `now`, seconds since 1970."""
        if self.host != here() or not _CAN_ASK:
            return now - self.seen < SILENCE
        return _exists(self.pid) and (not self.born or _born(self.pid) == self.born)


def new_holder(now: float) -> Holder:
    """This process, for one run of the engine."""
    return Holder(uuid.uuid4().hex, here(), os.getpid(), _born(os.getpid()), now)


def here() -> str:
    """A name for everything that shares this process's process numbers."""
    try:
        space = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        space = boot = ""
    return "/".join((socket.gethostname(), boot, space))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but it is there
        return True
    return True


def _born(pid: int) -> str:
    """Clock ticks from the machine's start to the process's; "" where the system does not say, "dead" for a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = text[text.rindex(")") + 2 :].split()  # the name before may hold anything
    return "dead" if state in "ZX" else fields[18]
