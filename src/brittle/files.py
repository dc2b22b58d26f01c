"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from brittle.errors import UsageError


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text beside the target and rename it, so that nothing half-written is ever left behind.

    Raises:
        UsageError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}; choose a folder that exists and is writable") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UsageError(f"cannot write {target}: {error.strerror}; choose a file that can be written") from error
    return target


def check_writable(path: str | Path) -> None:
    """Refuse a target that could not be written, before the work that would fill it.

    Raises:
        UsageError: its folder is missing or not writable, or it is a folder itself.
    """
    target = Path(path)
    if target.is_dir() or not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise UsageError(f"cannot write {target}: choose a file in a folder that exists and is writable")


def _umask() -> int:
    """The process's umask: mkstemp makes private files, a result should be as readable as any other file."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
