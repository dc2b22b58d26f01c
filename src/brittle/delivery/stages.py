"""Networks that a compression has made so far, kept in a folder: made once, whole or not there, never trusted blindly.

Each stage is one model file, with what else it found in the marks, beside a hash of its key, its weights and these.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from brittle.errors import BrittleError
from brittle.evaluation.checkpoint import hash_tensors
from brittle.files import make_folder
from brittle.models.file import load, read_marks, save
from brittle.models.recipe import recipe_of

_MARK = "brittle.stage"


@dataclass(frozen=True, eq=False)
class Made:
    """A network, and JSON values that tell of its making."""

    model: nn.Module
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Stages:
    """A folder (None keeps nothing) and the fingerprint of what everything is made from."""

    folder: Path | None
    fingerprint: str

    def key(self, stage: str, **facts: object) -> str:
        """The JSON key of one stage; facts are compared by their printed form."""
        values = {"fingerprint": self.fingerprint, "stage": stage} | {name: str(fact) for name, fact in facts.items()}
        return json.dumps(values, sort_keys=True)

    def place(self, key: str, suffix: str) -> Path | None:
        """Where something of this key is kept: its file, or (suffix "") a folder for its state; None for nowhere."""
        if self.folder is None:
            return None
        return self.folder / f"{json.loads(key)['stage']}-{hashlib.sha256(key.encode()).hexdigest()[:24]}{suffix}"

    def made(self, key: str, make: Callable[[], Made]) -> Made:
        """`make()`, or what it gave before under this key. Models without a recipe are not kept.

        Raises:
            UsageError: the folder cannot be made; ModelError: it cannot be written; else whatever `make` raises.
        """
        place = self.place(key, ".safetensors")
        if place is None:
            return make()
        make_folder(place.parent)
        found = _read(place, key)
        if found is not None:
            return found
        made = make()
        if recipe_of(made.model) is not None:
            body = json.dumps(dict(made.values), allow_nan=False)
            mark = json.dumps({"sha256": _digest(made.model, key, body), "values": body})
            save(made.model, place, marks={_MARK: mark})
            shutil.rmtree(place.with_suffix(""), ignore_errors=True)  # the stage's own state is in the whole now
        return made


def _read(place: Path, key: str) -> Made | None:
    try:
        mark = json.loads(read_marks(place)[_MARK])
        model = load(place)
        if mark["sha256"] == _digest(model, key, mark["values"]):
            return Made(model, json.loads(mark["values"]))
    except (BrittleError, KeyError, TypeError, ValueError):  # missing, damaged, or of another version
        pass
    return None


def _digest(model: nn.Module, key: str, body: str) -> str:
    state = model.state_dict()
    names = sorted(state)
    weights = hash_tensors(*(state[name].detach().cpu() for name in names))
    return hashlib.sha256(f"{key}\n{names}\n{body}\n{weights}".encode()).hexdigest()
