"""The trained network that others are made from, trained once and kept in the folder that trials share."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path

from torch import nn

import brittle
from brittle.errors import ModelError
from brittle.models.file import load, save
from brittle.studies.sources.scratch import train_one
from brittle.studies.tasks import Learning
from brittle.studies.trial import Dense, Source, Trial

# Fields that measuring depends on, and making a network does not.
_OF_MEASURES = {"test", "threats", "measures", "transfer", "source", "data"}


def trained(trial: Trial, source: Source, learning: Learning, memory: Path | None) -> nn.Module:
    """The network of `source` under the trial's seed and run, from `memory` where it was made before.

    A file has the same weights to the bit as training anew would give under one version of the code; a damaged one is
    made again. Trials that run at once may both train it: the last one's equal file stays.
    """
    if memory is None:
        return train_one(trial, source, learning)
    path = Path(memory) / "parents" / f"{_key(trial, source, learning)}.safetensors"
    if path.exists():
        try:
            return load(path)
        except ModelError:
            pass  # damaged
    net = train_one(trial, source, learning)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(net, path)
    return net


def dense_parent(trial: Trial, learning: Learning, memory: Path | None) -> nn.Module:
    """The dense network of the same seed."""
    return trained(trial, Dense(), learning, memory)


def _key(trial: Trial, source: Source, learning: Learning) -> str:
    config = {**trial.model_dump(mode="json", exclude=_OF_MEASURES), "source": source.model_dump(mode="json")}
    text = json.dumps([config, learning.sha256(), _code()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _code() -> str:
    """Another version of any part of the package or of torch trains anew: simpler than knowing which parts count."""
    digest = hashlib.sha256(version("torch").encode())
    root = Path(brittle.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
