"""Dense layers that read a flattened map: how many channels it has, and how many positions each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from brittle.models.frozen import frozen

_FLATTENINGS = (torch.flatten, Tensor.flatten, torch.reshape, Tensor.reshape, Tensor.view)


def positions_before(model: nn.Module, names: Sequence[str], x: Tensor) -> dict[str, int]:
    """S of each of these dense layers that reads a map (b, C, *sizes) as a flatten leaves it, (b, C S), with S > 1.

    Layers behind no flatten, and those that something else than an identity separates from it, are left out. The model
    runs once, on x (b, *shape), in evaluation mode, and is left as it was.
    """
    found: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            each = seen.positions(args[0]) if args else 0
            if each > 1:
                found[name] = each

        return hook

    hooks = [model.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]
    try:
        with frozen(model), torch.no_grad(), _Flattened() as seen:
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


class _Flattened(TorchFunctionMode):
    """Remembers what was flattened while it lasts; the results are kept, so that no other tensor takes their memory."""

    def __init__(self) -> None:
        super().__init__()
        self._known: list[tuple[Tensor, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _FLATTENINGS and isinstance(args[0], Tensor) and isinstance(out, Tensor):
            before, after = args[0].shape, out.shape
            if len(before) > 2 and tuple(after) == (before[0], before[1:].numel()):
                self._known.append((out, before[2:].numel()))
        return out

    def positions(self, u: Tensor) -> int:
        """S of the map that u was flattened from; 0 where it was none."""
        for out, each in reversed(self._known):
            if u.shape == out.shape and u.data_ptr() == out.data_ptr():
                return each
        return 0
