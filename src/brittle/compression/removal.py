"""Removing units: a copy of a network with really smaller modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling, Side
from brittle.compression.couplings.sides import side_size
from brittle.compression.cutting import cut, set_heads
from brittle.compression.duplicate import copied
from brittle.compression.opened_attention import open_attention
from brittle.compression.thin_pairs import fit_pairs
from brittle.errors import ModelError
from brittle.models.edits import adopt


def remove(model: nn.Module, kept: Mapping[str, Sequence[int]], couplings: Sequence[Coupling]) -> nn.Module:
    """A copy of `model` in which the couplings named in `kept` have only those units; the original is left alone.

    Weights that stay are copied exactly, in their number format, on their device, with their modes and gradient flags.
    Two modules change their form: torch's attention that loses heads becomes a `SelfAttention`, and a low-rank pair
    whose rank has become larger than its full rank gets that rank (the same map). A model's recipe follows, so that
    the copy can be saved.

    Args:
        model: the network that `couplings` were found in.
        kept: names of couplings -> positions of the units that stay, in any order, at least one.
        couplings: all couplings of the model.

    Raises:
        ModelError: an unknown coupling, positions that are none, or couplings of another network.
    """
    return adopt(without_units(model, kept, couplings), model)


def without_units(model: nn.Module, kept: Mapping[str, Sequence[int]], couplings: Sequence[Coupling]) -> nn.Module:
    """As `remove`, but the copy carries the recipe of the original, which no longer describes it.

    Raises:
        ModelError: as `remove`.
    """
    chosen = checked_units(kept, couplings)
    by_name = {coupling.name: coupling for coupling in couplings}
    smaller = [by_name[name] for name, units in chosen.items() if len(units) < by_name[name].units]
    masks = _masks(model, chosen, smaller)
    child = copied(model)
    with torch.no_grad():
        for coupling in smaller:
            if coupling.kind == "heads":
                _open_attention(child, coupling.name, masks)
        for path in dict.fromkeys(path for path, _ in masks):
            try:
                cut(child.get_submodule(path), masks.get((path, "out")), masks.get((path, "in")))
            except ModelError as error:
                raise ModelError(f"layer {path!r}: {error}") from None
        for coupling in smaller:
            if coupling.kind == "heads":
                set_heads(child.get_submodule(coupling.name), len(chosen[coupling.name]))
        fit_pairs(child, [path for path, _ in masks])
    return child


def checked_units(kept: Mapping[str, Sequence[int]], couplings: Sequence[Coupling]) -> dict[str, tuple[int, ...]]:
    """The units to keep, sorted, by coupling.

    Raises:
        ModelError: an unknown coupling, no unit, a unit named twice, or one that the coupling does not have.
    """
    by_name = {coupling.name: coupling for coupling in couplings}
    chosen = {}
    for name, units in kept.items():
        if name not in by_name:
            raise ModelError(f"no coupling {name!r} to take units from: expected one of {', '.join(by_name) or 'none'}")
        ordered = tuple(sorted(int(unit) for unit in units))
        most = by_name[name].units
        if not ordered:
            raise ModelError(f"coupling {name!r} would lose all of its {most} {by_name[name].kind}: keep at least one")
        if len(set(ordered)) != len(ordered) or ordered[0] < 0 or ordered[-1] >= most:
            raise ModelError(
                f"units of {name!r} to keep must be distinct numbers in 0..{most - 1}, got {_shortened(ordered)}"
            )
        chosen[name] = ordered
    return chosen


def _masks(
    model: nn.Module, chosen: Mapping[str, Sequence[int]], couplings: Sequence[Coupling]
) -> dict[tuple[str, Side], Tensor]:
    """(size,) boolean for each side that loses positions, True where they stay."""
    masks: dict[tuple[str, Side], Tensor] = {}
    for coupling in couplings:
        gone = sorted(set(range(coupling.units)) - set(chosen[coupling.name]))
        for member in coupling.members:
            try:
                size = side_size(model.get_submodule(member.module), member.side)
            except (AttributeError, AssertionError):
                raise ModelError(
                    f"the model has no layer {member.module!r} with channels: take the couplings of this model"
                ) from None
            mask = masks.setdefault((member.module, member.side), torch.ones(size, dtype=torch.bool))
            lost = [position for unit in gone for position in member.index[unit]]
            if max(lost) >= size:
                raise ModelError(
                    f"layer {member.module!r} has {size} positions, coupling {coupling.name!r} names position "
                    f"{max(lost)}: take the couplings of this model"
                )
            mask[lost] = False
    for (path, _), mask in masks.items():
        if not bool(mask.any()):
            raise ModelError(f"layer {path!r} would lose all of its channels: keep more units")
    return masks


def _open_attention(child: nn.Module, path: str, masks: dict[tuple[str, Side], Tensor]) -> None:
    """Put attention with layers of its own in the place of torch's, and name the masks after those layers."""
    if not isinstance(child.get_submodule(path), nn.MultiheadAttention):
        return
    open_attention(child, path)
    rows = masks.pop((path, "out")).chunk(3)
    for name, mask in zip(("q", "k", "v"), rows, strict=True):
        masks[f"{path}.{name}", "out"] = mask
    masks[f"{path}.proj", "in"] = masks.pop((f"{path}.out_proj", "in"))


def _shortened(units: Sequence[int]) -> str:
    return f"{list(units[:8])}{'...' if len(units) > 8 else ''}"
