"""Weight files: reading a state dict without running code from the file, whatever it is wrapped in."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from brittle.errors import ModelError
from brittle.models.messages import first_line

# Keys that training scripts put a state dict under, the most specific first
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
# Prefixes that DataParallel and torch.compile put before every name
PREFIXES = ("module.", "_orig_mod.")
REMEDY = "save the weights alone with torch.save(model.state_dict(), F), then name an architecture and give --weights F"


@dataclass(frozen=True)
class Checkpoint:
    """A state dict and what a person should know about where it came from."""

    state: dict[str, Tensor]
    notes: tuple[str, ...]


def read_state_dict(path: str | Path, index: int | None = None) -> dict[str, Tensor]:
    """The state dict in a weight file, on the CPU: `read_checkpoint` without its notes."""
    return read_checkpoint(path, index).state


def read_checkpoint(path: str | Path, index: int | None = None) -> Checkpoint:
    """Read a safetensors file, or a torch file with `weights_only=True`, so no code from the file runs.

    Dictionaries around the weights ("state_dict", "model", ...) are opened and the prefixes of DataParallel and
    torch.compile are taken off. Some files hold a list of state dicts; `index` picks one, the first by default.

    Foreign files checked: the scaled nets of Wong et al. (2018, convex_adversarial) are cascades, lists of two or three
    nets, where each later net only serves inputs that those before it could not certify. Entry 0 is the net to audit on
    its own: clean accuracy 85.23 % (mnist_small_0_3), 27.56 % and 54.14 % (cifar_small_8px, _36px; JPEG images).
    Their CIFAR-10 nets, and those of oval21, want mean=0.485,0.456,0.406 and std=0.225; the MNIST nets take pixels.

    Raises:
        ModelError: the file is missing, broken, or holds anything but weights; or `index` is out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"no such weight file: {path}; expected a state dict as safetensors or a torch file")
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    notes: list[str] = []
    content = _unwrap(content, path, index, notes)
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"{path} holds a value of type {type(value).__name__} under {name!r}, not only tensors: {REMEDY}"
            )
    if not content:
        raise ModelError(f"{path} holds no weights: expected a state dict, names to tensors")
    return Checkpoint(_strip({str(k): v for k, v in content.items()}), tuple(notes))


def split_index(text: str) -> tuple[Path, int | None]:
    """`F.pth#1` is entry 1 of the list of state dicts in F.pth; without `#` the index is None.

    Raises:
        ModelError: what follows `#` is not a whole number.
    """
    path, mark, number = text.rpartition("#")
    if not mark or Path(text).exists():
        return Path(text), None
    if not number.isdecimal():
        raise ModelError(f"cannot read the entry in {text!r}: expected a whole number after #, as in F.pth#1")
    return Path(path), int(number)


def _safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is not a safetensors file ({first_line(error)}): write it again, it may be cut short"
        ) from None


def _torch(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch explains its file formats at length
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            found = re.search(r"GLOBAL (\S+)", str(error))
            if found:
                what = f"Python objects ({found[1]}), so reading it could run code, which is refused"
                raise ModelError(f"{path} holds {what}: {REMEDY}") from None
            raise ModelError(f"{path} is not a weight file: {REMEDY}") from None
        except Exception as error:  # a broken file fails in many ways: EOFError, KeyError, OSError, RuntimeError, ...
            if "TorchScript" in str(error):
                raise ModelError(
                    f"{path} is a TorchScript program, which could run code, so it is refused: {REMEDY}"
                ) from None
            raise ModelError(
                f"{path} cannot be read as a torch file ({first_line(error)}): is it cut short? If not, {REMEDY}"
            ) from None


def _unwrap(content: Any, path: Path, index: int | None, notes: list[str]) -> Mapping[str, Any]:
    chosen = False
    while True:
        if isinstance(content, list | tuple) and content and all(isinstance(entry, Mapping) for entry in content):
            entry = 0 if index is None else index
            if not 0 <= entry < len(content):
                raise ModelError(
                    f"{path} holds {len(content)} state dicts: expected an index of 0 to {len(content) - 1}, "
                    f"got {entry}"
                )
            if len(content) > 1:
                notes.append(f"{path.name} holds {len(content)} state dicts; entry {entry} was taken")
            content, chosen = content[entry], True
            continue
        if not isinstance(content, Mapping):
            raise ModelError(
                f"{path} holds a {type(content).__name__}, expected a state dict, names to tensors: {REMEDY}"
            )
        key = next((k for k in WRAPPERS if isinstance(content.get(k), Mapping | list | tuple)), None)
        if key is None:
            break
        content = content[key]
    if index is not None and not chosen:
        raise ModelError(f"{path} holds one state dict, not a list: leave the index {index} out")
    return content


def _strip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off prefixes that every name has, in whatever order they were put on."""
    while True:
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None)
        if prefix is None:
            return state
        state = {name.removeprefix(prefix): value for name, value in state.items()}
