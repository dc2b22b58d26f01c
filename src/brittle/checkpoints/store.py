"""Finished matrices kept in a folder, one small file each, so that an interrupted audit goes on where it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

import brittle
from brittle.checkpoints.duplicates import fingerprint
from brittle.checkpoints.files import Stored
from brittle.checkpoints.options import CheckpointOptions
from brittle.checkpoints.plan import Matrix
from brittle.errors import BrittleError
from brittle.files import make_folder, write_text
from brittle.results.layer import Unmeasured
from brittle.results.serialise import from_dict, read_json, to_dict
from brittle.results.structure import MatrixStructure

# What changes neither a number nor a word of a matrix's row.
_FREE = ("workers", "time_limit")


class Store:
    """Rows by the key of what they depend on; without a folder it keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        """Make the folder where it is missing.

        Raises:
            UsageError: it cannot be made.
        """
        self._folder = None if folder is None else make_folder(folder)

    def key(self, matrix: Matrix, options: CheckpointOptions) -> str:
        """SHA-256 of the matrix's place, a sample of its content, the options and the versions."""
        if self._folder is None:
            return ""
        files = [_identity(matrix.stored)] + ([] if matrix.scale is None else [_identity(matrix.scale.stored)])
        settings = {name: value for name, value in asdict(options).items() if name not in _FREE}
        plan = [matrix.part, matrix.scale and (matrix.scale.factor, matrix.scale.grid, matrix.scale.block)]
        text = repr((brittle.__version__, torch.__version__, files, plan, matrix.notes, matrix.same_as, settings))
        return hashlib.sha256(text.encode()).hexdigest()

    def get(self, key: str) -> MatrixStructure | Unmeasured | None:
        """The row kept under a key; None where there is none, or none that can be read."""
        if self._folder is None:
            return None
        try:
            values = read_json(self._place(self._folder, key))
            if values.get("key") != key:
                return None
            row = values["row"]
            return from_dict(MatrixStructure, row) if "spectral" in row else from_dict(Unmeasured, row)
        except (BrittleError, KeyError, TypeError):
            return None

    def put(self, key: str, row: MatrixStructure | Unmeasured) -> None:
        """Keep a row, whole or not at all.

        Raises:
            UsageError: the folder cannot be written.
        """
        if self._folder is not None:
            text = json.dumps({"key": key, "row": to_dict(row)}, allow_nan=False) + "\n"
            write_text(self._place(self._folder, key), text)

    @staticmethod
    def _place(folder: Path, key: str) -> Path:
        return folder / f"matrix-{key[:24]}.json"


def _identity(stored: Stored) -> tuple[object, ...]:
    status = stored.file.stat()
    return stored.name, stored.dtype, stored.shape, status.st_size, status.st_mtime_ns, fingerprint(stored)
