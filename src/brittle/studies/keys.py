"""Keys of trials: what a trial's numbers depend on, hashed. Another code or torch version makes other keys.

Not in a key, though they may move the last digits: the processor, and how many nets were trained together.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import brittle
from brittle.studies.trial import Trial

# Parts of the package that no trial runs: a test holds that none of the others imports them.
APART: Final = (
    "__init__.py",
    "__main__.py",
    "api.py",
    "auditing",
    "cli",
    "compare.py",
    "delivery",
    "demo",
    "report",
    "schema",
    "studies/answer.py",
    "studies/arrays.py",
    "studies/batches.py",
    "studies/cell_data.py",
    "studies/cells.py",
    "studies/checked.py",
    "studies/claims",
    "studies/database.py",
    "studies/engine.py",
    "studies/export.py",
    "studies/grid.py",
    "studies/keys.py",
    "studies/lease.py",
    "studies/presets.py",
    "studies/problems.py",
    "studies/ray_workers.py",
    "studies/statistics",
    "studies/store.py",
    "studies/study.py",
    "studies/taken.py",
    "studies/verdict.py",
    "studies/workers.py",
    "studies/yaml_file.py",
)

# DATA strings whose part after the colon is no place on the disk.
_NO_PATH: Final = ("digits", "synthetic", "hub")


def canonical(trial: Trial) -> str:
    """The whole configuration as one line of JSON with sorted keys: equal trials have equal text.

    Places on the disk are replaced by what lies there (`fingerprint`), so moving a data set keeps the keys, and
    changing it makes new ones. A place that does not exist stays as it is: running the trial will say so.
    """
    config: dict[str, Any] = trial.model_dump(mode="json")
    for field in ("data", "transfer"):
        config[field] = None if config[field] is None else _by_content(config[field])
    return json.dumps(_plain(config), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _by_content(data: str) -> str:
    """A DATA string with what lies at its place instead of the place."""
    name, colon, place = data.partition(":")
    if name == "classes":
        wanted, inside, inner = place.partition(":")
        return f"{name}{colon}{wanted}{inside}{_by_content(inner)}"
    if colon and name not in _NO_PATH and os.path.exists(place):
        return f"{name}:sha256={fingerprint(os.path.realpath(place))}"
    return data


def _plain(value: Any) -> Any:
    """Whole numbers without a point: trials that are equal in Python (64 == 64.0) have one key."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def fingerprint(place: str) -> str:
    """16 hex digits: of a file its content, of a folder the names and sizes of all files in it.

    Read once per process: data are taken to stay as they are while a study runs. A folder's file that is changed
    without changing its size goes unseen.
    """
    digest = hashlib.sha256()
    if os.path.isfile(place):
        with open(place, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for folder, folders, files in os.walk(place):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            line = f"{os.path.relpath(path, place)}\0{os.stat(path).st_size}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


@cache
def code_version() -> str:
    """Hash of the package's source that numbers depend on, and torch's version: "3f2a90c1b7d4/torch-2.13.0+cpu"."""
    root = Path(brittle.__file__).parent
    digest = hashlib.sha256()
    for path in source_files(root):
        content = path.read_bytes().replace(b"\r\n", b"\n")  # a checkout on Windows has the same code
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return f"{digest.hexdigest()[:12]}/torch-{version('torch')}"


def source_files(root: Path) -> tuple[Path, ...]:
    """The files below `root` that `code_version` reads, sorted: all Python files but those `APART`."""

    def apart(path: Path) -> bool:
        inside = path.relative_to(root)
        return any(place.as_posix() in APART for place in (inside, *inside.parents))

    return tuple(sorted(path for path in root.rglob("*.py") if not apart(path)))


def config_key(trial: Trial) -> str:
    """sha256 of `canonical`, 64 hex digits: the same under every version of the code."""
    return hashlib.sha256(canonical(trial).encode()).hexdigest()


def trial_key(trial: Trial, code: str | None = None) -> str:
    """sha256 of the configuration and the code version, 64 hex digits: the name of a trial's results.

    Args:
        trial: the configuration.
        code: a code version, None for `code_version()` of the code that runs now.
    """
    return hashlib.sha256(f"{config_key(trial)}\n{code or code_version()}".encode()).hexdigest()
