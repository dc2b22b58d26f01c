"""How large a unit's activations are where they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.compression.couplings.sides import weight_members
from brittle.compression.duplicate import copied
from brittle.compression.opened_attention import open_attention
from brittle.compression.protocols import Evidence
from brittle.models.frozen import frozen

_BATCH = 256


def activation(model: nn.Module, couplings: Sequence[Coupling], evidence: Evidence) -> Mapping[str, Tensor]:
    """`mean |a|` over the samples and the positions of a unit, at the inputs of the layers that read it; (u,) float64.

    Where several layers read a unit, perhaps after norms of their own, their means are averaged.

    Raises:
        ModelError: attention that cannot be looked into.
    """
    seen = _called(model, couplings)
    totals = {c.name: torch.zeros(c.units, dtype=torch.float64, device=evidence.x.device) for c in couplings}
    handles = []
    with frozen(seen), torch.no_grad():
        try:
            for coupling in couplings:
                readers = weight_members(model, coupling, "in")
                for member, _ in readers:
                    layer = seen.get_submodule(_path(model, member))
                    watch = _watch(totals[coupling.name], member, layer, len(readers) * len(evidence.x))
                    handles.append(layer.register_forward_pre_hook(watch))
            for x in evidence.x.split(_BATCH):
                seen(x)
        finally:
            for handle in handles:
                handle.remove()
    return totals


def _called(model: nn.Module, couplings: Sequence[Coupling]) -> nn.Module:
    """The model itself, or a copy in which torch's attention calls the layer that reads its heads."""
    closed = [c.name for c in couplings if isinstance(model.get_submodule(c.name), nn.MultiheadAttention)]
    if not closed:
        return model
    seen = copied(model)
    for path in closed:
        open_attention(seen, path)
    return seen


def _path(model: nn.Module, member: Member) -> str:
    parent = member.module.rpartition(".")[0]
    return f"{parent}.proj" if isinstance(model.get_submodule(parent), nn.MultiheadAttention) else member.module


def _watch(total: Tensor, member: Member, layer: nn.Module, weight: int) -> Callable[[nn.Module, tuple[Tensor]], None]:
    """Adds the batch's `sum over samples of mean |a|`, over `weight`, to `total`."""
    index = torch.tensor(member.index, device=total.device)
    axis = -1 if isinstance(layer, nn.Linear) else 1

    def watch(_: nn.Module, inputs: tuple[Tensor]) -> None:
        sides = inputs[0].detach().abs().double().movedim(axis, 1)
        means = sides.reshape(*sides.shape[:2], -1).mean(2)  # (b, d)
        total.add_(means.sum(0)[index].mean(1) / weight)

    return watch
