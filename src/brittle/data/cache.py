"""Arrays that are slow to make, kept on disk. A cache may vanish, be unwritable or be damaged: never an error."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brittle.files import replacing

Arrays = dict[str, NDArray[np.uint8]]


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/brittle`, or `~/.cache/brittle` where that is unset or relative (XDG base directories).

    Raises:
        RuntimeError: no home folder can be found.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "brittle"


def cached_arrays(key: str, names: tuple[str, ...], make: Callable[[], Arrays]) -> Arrays:
    """What `make` returns (arrays under these names), from `<cache>/<key>.npz` where an earlier call left it intact.

    `key` must name the content for good (hold a hash of the source): entries are never compared with their source.
    """
    try:
        path = cache_folder() / f"{key}.npz"
    except RuntimeError:
        return make()
    stored = _read(path, names)
    if stored is not None:
        return stored
    arrays = make()
    _write(path, arrays)
    return arrays


def _read(path: Path, names: tuple[str, ...]) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as stored:  # the zip's checksums catch damage
            return {name: stored[name] for name in names}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError:
        pass  # full disk or read-only home: the arrays are in memory, the next run decodes again
