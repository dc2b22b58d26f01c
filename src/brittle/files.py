"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brittle.errors import UsageError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; when the block ends well it takes the place of `path`, else it is removed.

    A link stays a link: the file that it points to is replaced.

    Raises:
        OSError: the folder is missing or cannot be written, or whatever the block raises.
    """
    temporary = _beside(path)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(os.path.realpath(path))
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text whole or not at all.

    Raises:
        UsageError: the folder does not exist or cannot be written, or `path` is a folder, a device or a pipe.
    """
    _check_plain(path)
    try:
        with replacing(path) as temporary:
            # File names that are not UTF-8 reach texts as lone surrogates, which UTF-8 cannot hold.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise _refusal(path, error) from error
    return Path(path)


def check_writable(path: str | Path) -> None:
    """Refuse a target that could not be written, before the work that would fill it; nothing is left behind.

    Raises:
        UsageError: its folder is missing or not writable, or it is no plain file (a folder, a device, a pipe).
    """
    _check_plain(path)
    try:  # only an attempt tells: rights, read-only disks, names that are too long
        _beside(path).unlink()
    except OSError as error:
        raise _refusal(path, error) from None


def check_folder(path: str | Path) -> None:
    """Refuse a folder that could not be made or written to, before the work that would fill it; nothing is made.

    Raises:
        UsageError: it, or the nearest parent that exists, is no writable folder.
    """
    folder = Path(path).absolute()
    nearest = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UsageError(f"cannot use {path} as a folder: {nearest} is no writable folder; choose another place")


def make_folder(path: str | Path) -> Path:
    """The folder `path`, made with its parents where it is missing.

    Raises:
        UsageError: it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {path}: {error.strerror}; choose another place") from error
    return folder


def _beside(path: str | Path) -> Path:
    """A new empty file in the folder of the target (of a link: of what it points to)."""
    target = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    return Path(name)


def _check_plain(path: str | Path) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f"cannot write {path}: it is no plain file; choose a file that can be written")


def _refusal(path: str | Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write {path}: {error.strerror}; choose a folder that exists and is writable")


def _umask() -> int:
    """The process's umask: mkstemp makes private files, a result should be as readable as any other file."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
