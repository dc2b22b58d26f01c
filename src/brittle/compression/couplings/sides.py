"""The two sides of a module as couplings see them: how many positions there are, and which weights stand at them.

Legend: u units, w positions of a unit on one side, h outputs, d inputs with their window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from brittle.compression.couplings.coupling import Coupling, Member, Side

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def has_sides(module: nn.Module) -> bool:
    """Whether positions of the module can be removed: a dense layer, a convolution, a batch norm, a PReLU with slopes.

    Its weights must be its own floating point parameters: what a parametrisation or a mask computes would come back.
    """
    if isinstance(module, _BatchNorm):
        return module.num_features > 0 and (not module.affine or _owns_weight(module))
    if isinstance(module, nn.PReLU):
        return module.num_parameters > 1 and _owns_weight(module)
    return isinstance(module, (nn.Linear, *CONVOLUTIONS)) and _owns_weight(module)


def makes_units(module: nn.Module) -> bool:
    """Whether units can begin here: a dense layer, or a convolution without groups."""
    return isinstance(module, nn.Linear) or (isinstance(module, CONVOLUTIONS) and module.groups == 1)


def side_size(module: nn.Module, side: Side) -> int:
    """Positions on one side; torch's attention has the rows of its q, k and v as outputs."""
    if isinstance(module, nn.MultiheadAttention):
        return module.in_proj_weight.shape[0]
    if isinstance(module, nn.Linear):
        return module.out_features if side == "out" else module.in_features
    if isinstance(module, CONVOLUTIONS):
        return module.out_channels if side == "out" else module.in_channels
    if isinstance(module, nn.PReLU):
        return module.num_parameters
    assert isinstance(module, _BatchNorm)
    return module.num_features


def weight_of(module: nn.Module) -> Tensor | None:
    """The weight (h, d...) whose rows and columns are the sides; None for a norm or a PReLU, which only scale."""
    if isinstance(module, nn.MultiheadAttention):
        return module.in_proj_weight
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return module.weight
    return None


def unit_rows(tensor: Tensor, member: Member) -> Tensor:
    """Entries of a weight-shaped tensor (h, d...) that belong to each unit: (u, entries)."""
    index = torch.tensor(member.index, device=tensor.device)
    sides = tensor if member.side == "out" else tensor.transpose(0, 1)
    return sides.flatten(1)[index].flatten(1)


def weight_members(model: nn.Module, coupling: Coupling, side: Side) -> list[tuple[Member, nn.Module]]:
    """The members on one side that hold weights (norms do not), with their modules."""
    found = [(member, model.get_submodule(member.module)) for member in coupling.members if member.side == side]
    return [(member, module) for member, module in found if weight_of(module) is not None]


def sized_alike(index: Sequence[Sequence[int]], size: int) -> bool:
    """Whether all units have equally many positions, all within the side, none twice."""
    flat = [position for unit in index for position in unit]
    return (
        len({len(unit) for unit in index}) == 1
        and bool(flat)
        and len(set(flat)) == len(flat)
        and min(flat) >= 0
        and max(flat) < size
    )


def _owns_weight(module: nn.Module) -> bool:
    weight = module._parameters.get("weight")
    return weight is not None and weight.is_floating_point() and not nn.parameter.is_lazy(weight)
