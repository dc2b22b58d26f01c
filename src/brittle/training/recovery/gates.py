"""Gates on the units of couplings: what a net would say if those that read a unit saw only a part of it.

Legend: u units of a coupling, c channels or features on a module's input side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.errors import ModelError
from brittle.training.cores import LowRank

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@contextmanager
def gated(model: nn.Module, couplings: Sequence[Coupling], gates: Mapping[str, Tensor]) -> Iterator[None]:
    """While it lasts, whatever reads unit j of a coupling sees it multiplied by `gates[name][j]`.

    A gate of 0 does to the logits what removing the unit does, biases and norms included; the gradient of a gate is the
    sum of input times gradient over all that read the unit. Gates (u,) are looked up in every pass, so that they may be
    replaced; couplings without gates are left alone. The model is as before afterwards, after an exception too.

    Raises:
        ModelError: a coupling that is read by a module which cannot be gated.
    """
    undo: list[Callable[[], object]] = []
    try:
        for coupling in couplings:
            if coupling.name in gates:
                for member in coupling.members:
                    if member.side == "in":
                        undo.append(_gate(model, coupling, member, gates))
        yield
    finally:
        for back in reversed(undo):
            back()


def read_by(model: nn.Module, member: Member) -> Tensor:
    """The weights that read each of a module's inputs, (c, ...), detached.

    Raises:
        ModelError: a module without such weights.
    """
    module = _reader(model, member)
    weight = module.weight.detach()
    if isinstance(module, nn.Linear):
        return weight.T
    # (groups * h, c / groups, k, k): input channel i of its group is read by that group's filters alone.
    return weight.unflatten(0, (module.groups, -1)).transpose(1, 2).flatten(0, 1).flatten(1)


def _gate(model: nn.Module, coupling: Coupling, member: Member, gates: Mapping[str, Tensor]) -> Callable[[], object]:
    """Put the gate of one reading module in place; what takes it away again."""
    module = _reader(model, member)
    size = module.in_features if isinstance(module, nn.Linear) else module.in_channels
    unit = torch.tensor([j for j, places in enumerate(member.index) for _ in places])
    place = torch.tensor([i for places in member.index for i in places])

    def vector(like: Tensor) -> Tensor:
        values = gates[coupling.name].to(like)[unit.to(like.device)]
        return torch.ones(size, dtype=like.dtype, device=like.device).scatter(0, place.to(like.device), values)

    if _read_behind(model, member):
        # Torch's attention reads this layer's weight and never calls it.
        parametrize.register_parametrization(module, "weight", _Columns(vector), unsafe=True)
        return lambda: parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)

    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = inputs[0]
        each = vector(x)
        if not isinstance(module, nn.Linear):
            each = each.view(-1, *[1] * (x.dim() - 2))
        return (x * each, *inputs[1:])

    return module.register_forward_pre_hook(hook).remove


class _Columns(nn.Module):
    """The weight with each column multiplied by its gate."""

    def __init__(self, vector: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._vector = vector

    def forward(self, weight: Tensor) -> Tensor:
        """(h, c) -> (h, c)."""
        return weight * self._vector(weight)


def _reader(model: nn.Module, member: Member) -> nn.Linear | Convolution:
    module = model.get_submodule(member.module)
    if isinstance(module, nn.MultiheadAttention):
        module = module.out_proj
    if isinstance(module, LowRank):
        module = module.first
    if not isinstance(module, nn.Linear | Convolution):
        raise ModelError(
            f"cannot gate what {member.module!r} reads: expected a dense layer or a convolution, got "
            f"{type(module).__name__}: leave its coupling out"
        )
    return module


def _read_behind(model: nn.Module, member: Member) -> bool:
    parent, _, leaf = member.module.rpartition(".")
    if isinstance(model.get_submodule(member.module), nn.MultiheadAttention):
        return True
    return leaf == "out_proj" and isinstance(model.get_submodule(parent), nn.MultiheadAttention)
