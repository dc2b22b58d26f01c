"""The tensors of a checkpoint, listed from the headers of its files: nothing is read of the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors

from brittle.checkpoints.bare import INDEX, SUFFIX, read_header
from brittle.errors import ModelError


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a file; `dtype` is safetensors' name of its number format, such as BF16."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    bytes: int


@dataclass(frozen=True)
class Checkpoint:
    """The files of one checkpoint and their tensors, by name."""

    path: Path
    files: tuple[Path, ...]
    tensors: dict[str, Stored]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def parameters(self) -> int:
        """Entries of all tensors together."""
        return sum(_entries(tensor.shape) for tensor in self.tensors.values())


def find_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in a safetensors file, or in a folder of them (with or without an index).

    Raises:
        ModelError: no such file, no safetensors in the folder, a shard that is missing or broken, a tensor that two
            files hold or that the index promises in vain.
    """
    path = Path(path)
    promised: dict[str, str] = {}
    if path.is_dir():
        promised = _promised(path)
        names = sorted(set(promised.values())) or sorted(file.name for file in path.glob(f"*{SUFFIX}"))
        files = tuple(path / name for name in names)
    else:
        files = (path,)
    if not files:
        raise ModelError(f"{path} holds no {SUFFIX} file: give the folder of a checkpoint, or one file")
    tensors: dict[str, Stored] = {}
    for file in files:
        for tensor in _tensors(file):
            if tensor.name in tensors:
                other = tensors[tensor.name].file.name
                raise ModelError(f"tensor {tensor.name!r} is both in {other} and in {file.name}: give one of the files")
            tensors[tensor.name] = tensor
    for name, shard in promised.items():
        if name not in tensors or tensors[name].file.name != shard:
            raise ModelError(f"the index of {path} promises {name!r} in {shard}, which lacks it: download it again")
    return Checkpoint(path, files, tensors)


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A memory map of a file; closing it gives its pages back.

    Raises:
        ModelError: the file is missing or broken.
    """
    if not file.is_file():
        raise ModelError(f"no such file: {file}; expected a {SUFFIX} file")
    try:
        with safetensors.safe_open(file, framework="pt", device="cpu") as handle:
            yield handle
    except (safetensors.SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{file} is not a whole safetensors file ({reason}): write it again, it may be cut short"
        ) from None


def _promised(folder: Path) -> dict[str, str]:
    """Tensor names and their shards from the folder's index; empty where there is none."""
    found = sorted(folder.glob(f"*{INDEX}"))
    if not found:
        return {}
    if len(found) > 1:
        raise ModelError(f"{folder} holds several indices ({found[0].name}, {found[1].name}): give one file")
    try:
        shards = json.loads(found[0].read_text(encoding="utf-8"))["weight_map"]
        entries = {str(name): str(shard) for name, shard in shards.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{found[0]} is no index of shards (no weight_map): download it again") from None
    for shard in entries.values():
        if Path(shard).name != shard or not shard.endswith(SUFFIX):
            raise ModelError(f"{found[0]} points to {shard!r}: expected {SUFFIX} files beside it")
    return entries


def _tensors(file: Path) -> list[Stored]:
    with opened(file):  # checks lengths and offsets
        header = read_header(file)
    found = []
    for name, entry in header.items():
        if name != "__metadata__" and isinstance(entry, dict):
            start, end = entry["data_offsets"]
            found.append(Stored(name, str(entry["dtype"]), tuple(entry["shape"]), file, end - start))
    return found


def _entries(shape: tuple[int, ...]) -> int:
    entries = 1
    for side in shape:
        entries *= side
    return entries
