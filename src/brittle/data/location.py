"""The path behind the colon of a DATA string and the files there, checked."""

from __future__ import annotations

from pathlib import Path

from brittle.errors import DataError


def existing_folder(location: str | Path, form: str) -> Path:
    """The folder at `location` ("~" is the home folder); `form` is how the DATA string is written, "mnist:DIR".

    Raises:
        DataError: no location, nothing there, or not a folder.
    """
    path = _existing(location, form, "folder")
    if not path.is_dir():
        raise DataError(f"{form} needs a folder, {path} is a file: name the folder that holds it")
    return path


def existing_file(location: str | Path, form: str) -> Path:
    """The file at `location` ("~" is the home folder); `form` is how the DATA string is written, "npz:FILE".

    Raises:
        DataError: no location, nothing there, or not a file.
    """
    path = _existing(location, form, "file")
    if not path.is_file():
        raise DataError(f"{form} needs a file, {path} is a folder: name the file in it")
    return path


def content(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it cannot be read (a dangling link, no permission, not a file).
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): repair or delete it") from None


def _existing(location: str | Path, form: str, kind: str) -> Path:
    if str(location) == "":
        raise DataError(f"{form} needs a {kind}, got none: write it after the colon")
    path = Path(location).expanduser()
    if not path.exists():
        raise DataError(f"{form}: no such {kind}: {path}; check the path, brittle downloads nothing")
    return path
