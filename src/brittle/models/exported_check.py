"""Is it safe to load an exported program? An archive is inspected before torch reads it.

torch.export.load unpickles what it finds, evaluates the text of symbolic sizes, resolves operations by dotted names,
and writes a Python function from the graph's names. So everything of these is held against short lists here.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from brittle.errors import ModelError

# The parts of an archive that hold data alone, below its one folder.
_PARTS = re.compile(
    r"models/model\.json|archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)"
    r"|data/(weights|constants)/(weight_\d+|tensor_\d+|model_(weights|constants)_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/.*"
)
_SAMPLES = "data/sample_inputs/model.pt"
# Operations: torch's own on tensors, and arithmetic of sizes.
_TENSOR = re.compile(r"torch\.ops\.(aten|prims|quantized_decomposed)\.(\w+)\.(\w+)")
_SIZES = re.compile(
    r"_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|eq|ne|le|lt|ge|gt)|torch\.sym_(max|min|not)"
)
# Tensor operations that reach beyond tensors.
_BEYOND = ("from_file", "save", "load", "warn", "to_here", "call_function")
_NAME = re.compile(r"\w*")
# Symbolic sizes: symbols, whole numbers, arithmetic and sympy's functions of sizes; no attribute, no text.
_SYMBOLIC = re.compile(
    r"(?:\b[a-z]{1,2}\d+\b|\b\d+\b|\b(?:Mod|FloorDiv|CleanDiv|CeilDiv|Max|Min|PythonMod|ModularIndexing|IntTrueDiv|"
    r"TruncToInt|Where|Eq|Ne|oo|int_oo|Integer|Add|Mul|Pow|Rational)\b|[-+*/(), <>=]|//"
    r"|Symbol\('[a-z]{1,2}\d+'(?:, (?:integer|positive|nonnegative|real)=(?:True|False))*\))*"
)
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")


def checked_archive(path: Path) -> bytes:
    """The archive of an exported program, without notes on where its code came from; loading it runs nothing of it.

    Raises:
        ModelError: it is no such archive, or holds anything but tensors and plain tensor operations.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist()]
            parts = {name.partition("/")[2]: archive.read(name) for name in names}
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise _refused(path, f"it is no archive of torch.export.save ({error})") from None
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1 or len({name.lower() for name in names}) != len(names):
        raise _refused(path, "its parts are not named as torch.export.save names them")
    strange = next((part for part in parts if not _PARTS.fullmatch(part)), None)
    if strange is not None:
        raise _refused(path, f"its part {strange!r} could be code")
    if "models/model.json" not in parts or _SAMPLES not in parts:
        raise _refused(path, "it lacks models/model.json or its sample inputs")
    _check_samples(path, parts[_SAMPLES])
    for kind in ("weights", "constants"):
        _check_payload(path, parts.get(f"data/{kind}/model_{kind}_config.json", b"{}"))
    program = _read(path, parts["models/model.json"])
    for reason in _objections(program):
        raise _refused(path, reason)
    parts["models/model.json"] = json.dumps(_bare(program)).encode()
    made = io.BytesIO()
    (root,) = roots
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for part, content in parts.items():
            archive.writestr(f"{root}/{part}", content)
    return made.getvalue()


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is refused, {why}: export the plain model again with torch.export.save, or give its weights and "
        "architecture"
    )


def _read(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise _refused(path, "one of its descriptions is not JSON") from None


def _check_samples(path: Path, content: bytes) -> None:
    """Sample inputs are a pickle: nothing but tensors and containers may be in it."""
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:
        raise _refused(path, "its sample inputs are pickled objects, reading them could run code") from None


def _check_payload(path: Path, content: bytes) -> None:
    config = _read(path, content)
    for name, entry in (config.get("config") or {}).items():
        if entry.get("use_pickle") is not False:
            raise _refused(path, f"{name!r} is a pickled object, reading it could run code")


def _objections(value: Any, key: str = "") -> Iterator[str]:
    """What in the program's description could run something."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "as_custom_obj" or (name == "custom_obj_name" and inner):
                yield "it holds an object of a class of its own"
            elif name not in ("metadata", "guards_code"):
                yield from _objections(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _objections(inner, key)
    elif isinstance(value, str):
        if key in ("target", "as_operator") and not _plain_operation(value):
            yield f"it calls {value[:60]!r}, which is no plain tensor operation"
        elif key in ("name", "as_name") and not _NAME.fullmatch(value):
            yield f"a name in its graph is no name: {value[:40]!r}"
        elif key == "expr_str" and not _SYMBOLIC.fullmatch(value):
            yield f"a size in it is no arithmetic: {value[:40]!r}"
        elif key in ("in_spec", "out_spec") and value and not _plain_containers(value):
            yield "its inputs or outputs are objects of classes of their own"


def _plain_operation(target: str) -> bool:
    found = _TENSOR.fullmatch(target)
    if found is None:
        return _SIZES.fullmatch(target) is not None
    packet = getattr(getattr(torch.ops, found[1]), found[2], None) if found[2] not in _BEYOND else None
    return isinstance(getattr(packet, found[3], None), torch._ops.OpOverload)


def _plain_containers(spec: str) -> bool:
    def plain(value: Any) -> bool:
        if isinstance(value, list):
            return all(plain(inner) for inner in value)
        if not isinstance(value, dict):
            return True
        return value.get("type") in _CONTAINERS and all(plain(inner) for inner in value.get("children_spec", []))

    try:
        return plain(json.loads(spec))
    except ValueError:
        return False


def _bare(value: Any) -> Any:
    """Without notes on where the code came from, and without guards, which are Python code."""
    if isinstance(value, dict):
        empty: dict[str, Any] = {"metadata": {}, "guards_code": []}
        return {name: empty[name] if name in empty else _bare(inner) for name, inner in value.items()}
    return [_bare(inner) for inner in value] if isinstance(value, list) else value
