"""Is it a checkpoint without a recipe? Answered from the header alone, without torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from brittle.errors import ModelError

SUFFIX = ".safetensors"
INDEX = ".safetensors.index.json"
# Where brittle's own model files keep their recipe.
_RECIPE = "brittle.recipe"
# safetensors itself refuses longer headers.
_MOST_HEADER = 100_000_000


def is_bare(spec: str) -> bool:
    """Whether a MODEL string names a folder of safetensors files, or one such file that holds no recipe.

    False as well for what is missing or broken: the model's own door says what is wrong with it.
    """
    path = Path(spec)
    if path.is_dir():
        return any(path.glob(f"*{SUFFIX}")) or any(path.glob(f"*{INDEX}"))
    return path.suffix == SUFFIX and path.is_file() and _has_no_recipe(path)


def _has_no_recipe(path: Path) -> bool:
    try:
        header = read_header(path)
    except ModelError:
        return False
    metadata = header.get("__metadata__")
    return not (isinstance(metadata, dict) and _RECIPE in metadata)


def read_header(path: Path) -> dict[str, object]:
    """The JSON at the start of a safetensors file.

    Raises:
        ModelError: the file cannot be read, or does not start with such a header.
    """
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length <= _MOST_HEADER else None
    except (OSError, ValueError, RecursionError, struct.error):
        header = None
    if not isinstance(header, dict):
        raise ModelError(f"{path} is not a safetensors file: write it again, it may be cut short")
    return header
