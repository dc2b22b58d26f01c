"""What changed between two networks, found by walking both trees of modules."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from brittle.errors import ModelError
from brittle.models.editing.edit import Edit, replaced
from brittle.models.editing.table import EDIT_KINDS, kind_of
from brittle.models.messages import first_line

# Attributes that change nothing in evaluation: shares of dropout, settings of training, choices of an implementation.
_IDLE = frozenset({"training", "drop_prob", "dropout", "momentum", "inplace", "fused_attn", "grad_checkpointing"})
_REMEDY = "only changes of sizes, ranks and heads can be written down"


def edits_between(base: nn.Module, child: nn.Module) -> tuple[Edit, ...]:
    """The changes that turn the architecture of `base` into that of `child`; neither is changed.

    Modules, names, shapes and plain attributes (numbers, words) are compared; weights are not.

    Raises:
        ModelError: a difference that no kind of change describes; the message names the first one.
    """
    found: list[Edit] = []
    with torch.device("meta"):
        _walk(_without_weights(base), child, "", found)
    return tuple(found)


def _walk(base: nn.Module, child: nn.Module, path: str, found: list[Edit]) -> None:
    base = _changed(base, child, path, found)
    if type(base) is not type(child):
        raise ModelError(f"{_at(path)} is a {type(child).__name__} in place of a {type(base).__name__}: {_REMEDY}")
    _compare_numbers(base, child, path)
    _compare_tensors(base, child, path)
    own, theirs = list(base._modules), list(child._modules)
    if set(own) != set(theirs) or (isinstance(child, nn.Sequential) and own != theirs):
        raise ModelError(f"{_at(path)} has the parts {_names(theirs)} in place of {_names(own)}: {_REMEDY}")
    for name, part in child._modules.items():
        old = base._modules[name]
        where = f"{path}.{name}" if path else name
        if part is not None and old is not None:
            _walk(old, part, where, found)
        elif part is not old:
            raise ModelError(f"{_at(where)} is only there in one of both networks: {_REMEDY}")


def _changed(base: nn.Module, child: nn.Module, path: str, found: list[Edit]) -> nn.Module:
    """The base's module, replaced where a kind describes the child's and the two differ."""
    name = kind_of(child)
    if name is None or not path:
        return base
    kind = EDIT_KINDS[name]
    if not kind.replaces(base):
        return base
    sizes = kind.read(child)
    if kind.describes(base) and kind.read(base) == sizes:
        return base
    found.append(Edit(path, name, sizes))
    return replaced(base, found[-1])


def _compare_numbers(base: nn.Module, child: nn.Module, path: str) -> None:
    ours, theirs = vars(base), vars(child)
    for name, value in ours.items():
        if name.startswith("_") or name in _IDLE or name not in theirs or (name == "p" and _drops(base)):
            continue
        if _is_plain(value) and _is_plain(theirs[name]) and value != theirs[name]:
            raise ModelError(f"{_at(path)} has {name}={theirs[name]!r} in place of {value!r}: {_REMEDY}")


def _compare_tensors(base: nn.Module, child: nn.Module, path: str) -> None:
    ours, theirs = (_shapes(module) for module in (base, child))
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if ours.get(name) != theirs.get(name):
            raise ModelError(
                f"{_at(path)} has {name!r} of shape {theirs.get(name)} in place of {ours.get(name)}: {_REMEDY}"
            )


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    tensors = {**module._parameters, **module._buffers}
    return {name: tuple(value.shape) for name, value in tensors.items() if value is not None}


def _drops(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd) or type(module).__name__ == "StochasticDepth"


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(part) for part in value)
    return isinstance(value, bool | int | float | str)


def _without_weights(model: nn.Module) -> nn.Module:
    """A copy on the meta device, which the walk may change."""
    memo: dict[int, object] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        bare: Tensor = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # tensors with a history, handles, whatever a foreign module holds
        raise ModelError(f"the model cannot be copied ({first_line(error)}): pass a plain nn.Module") from None


def _at(path: str) -> str:
    return repr(path) if path else "the network"


def _names(names: list[str]) -> str:
    return ", ".join(names) or "none"
