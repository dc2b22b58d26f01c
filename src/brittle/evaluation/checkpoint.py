"""What long work remembers, so that it goes on where it was killed: tensors and records, each file whole or not there.

A file is trusted when its key and the hash of its content are the expected ones; any other is measured again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from brittle.errors import DataError, UsageError
from brittle.files import make_folder, replacing, write_text
from brittle.results.serialise import from_dict, read_json, to_dict

T = TypeVar("T")

# Between two writes of one state: at least this long, and at least so many times as long as the last write took.
_SECONDS, _TIMES = 1.0, 20.0
# A temporary file of this age was left by a process that was killed while it wrote.
_STALE_SECONDS = 600.0


@dataclass(frozen=True)
class Memory:
    """A folder, and the fingerprint of what the work is done on.

    `fingerprint` must change whenever a result could: it covers the model (weights and function), the data, and the
    versions of the code, which nothing here can see. What a function is called with is added to the key by the function
    itself. One process at a time writes with one fingerprint.
    """

    folder: Path
    fingerprint: str

    def key(self, name: str, **facts: object) -> str:
        """The JSON key of one piece of work; facts are compared by their printed form."""
        values = {"fingerprint": self.fingerprint, "work": name} | {k: str(v) for k, v in facts.items()}
        return json.dumps(values, sort_keys=True)


@dataclass(frozen=True)
class State:
    """Named tensors on the CPU, and JSON values, of work in progress."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


@dataclass
class Saver:
    """Keeps the newest state of one piece of work, not more often than writing is worth.

    Attributes:
        memory: where; None keeps nothing.
        key: from `Memory.key`.
    """

    memory: Memory | None
    key: str
    _next: float = field(default=0.0, init=False)

    def load(self) -> State | None:
        """The state kept under this key; None where there is none, or none that is whole.

        Raises:
            UsageError: the folder cannot be made: better told before the work than after its first batch.
        """
        if self.memory is None:
            return None
        place = _place(self.memory, self.key, "safetensors")
        try:
            with safe_open(place, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            values = metadata["values"]
            if metadata["key"] == self.key and metadata["sha256"] == _digest(tensors, values):
                return State(tensors, json.loads(values))
        except Exception:  # missing, damaged or foreign, in whatever way the reader puts it
            pass
        return None

    def due(self) -> bool:
        """Whether a state would be written now: collecting it costs something too."""
        return self.memory is not None and time.monotonic() >= self._next

    def keep(self, state: State) -> None:
        """Write the state, in the place of the one before.

        Raises:
            UsageError: the folder cannot be made or written.
        """
        if self.memory is None:
            return
        started = time.monotonic()
        place = _place(self.memory, self.key, "safetensors")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
        values = json.dumps(dict(state.values))
        metadata = {"key": self.key, "values": values, "sha256": _digest(tensors, values)}
        try:
            with replacing(place) as temporary:
                save_file(tensors, temporary, metadata=metadata)
        except OSError as error:
            raise UsageError(f"cannot write {place}: {error.strerror}; choose a folder that is writable") from error
        now = time.monotonic()
        self._next = now + max(_SECONDS, _TIMES * (now - started))


def kept(memory: Memory | None, key: str, record_class: type[T], compute: Callable[[], T]) -> T:
    """`compute()`, or the record it gave before under this key.

    Args:
        memory: where it is kept; None computes always.
        key: from `Memory.key`.
        record_class: the record's dataclass, or `tuple[Record, ...]`.
        compute: the work; called where no whole record is kept.

    A record that JSON would change (an infinity, a dictionary with other keys than strings) is returned, not kept.

    Raises:
        UsageError: the folder cannot be made or written; else whatever `compute` raises.
    """
    if memory is None:
        return compute()
    place = _place(memory, key, "json")
    found = _record(place, key, record_class)
    if found is not None:
        return found
    record = compute()
    try:
        body = json.dumps(to_dict(_Box(record))["record"], allow_nan=False)
        same = _decode(record_class, body) == record
    except (ValueError, DataError):
        return record
    if same:
        write_text(place, json.dumps({"key": key, "sha256": _sha256(key, body), "record": body}) + "\n")
    return record


@dataclass(frozen=True)
class _Box:
    """Any record as a field: serialising starts from a dataclass."""

    record: Any


def _decode(record_class: Any, body: str) -> Any:
    made = from_dict(dict[str, record_class], {"record": json.loads(body)})
    return made["record"]


def _record(place: Path, key: str, record_class: Any) -> Any:
    try:
        values = read_json(place)
        if values["key"] == key and values["sha256"] == _sha256(key, values["record"]):
            return _decode(record_class, values["record"])
    except (DataError, KeyError, TypeError, ValueError, AttributeError):  # missing, damaged, or of another version
        pass
    return None


def _place(memory: Memory, key: str, suffix: str) -> Path:
    """The file of a key, in a folder that is there, without what a killed writer of it left."""
    place = make_folder(memory.folder) / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.{suffix}"
    for part in place.parent.glob(f".{place.name}.*.part"):
        try:
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink()
        except OSError:  # gone by itself, or not ours
            pass
    return place


def _sha256(key: str, body: str) -> str:
    return hashlib.sha256(f"{key}\n{body}".encode()).hexdigest()


def _digest(tensors: Mapping[str, Tensor], values: str) -> str:
    names = sorted(tensors)
    return _sha256(f"{names} {values}", hash_tensors(*(tensors[name] for name in names)))


def hash_tensors(*tensors: Tensor) -> str:
    """SHA-256 over shapes, number formats and contents."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
