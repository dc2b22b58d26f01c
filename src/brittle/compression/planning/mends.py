"""How the layers that stay make up for what went: not at all, with the cut chosen by data, or fitted again.

Each takes a child whose units are gone and gives the planned layers their ranks and modes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling, Side
from brittle.compression.couplings.sides import side_size
from brittle.compression.factorable import factorable
from brittle.compression.factorise import factorise
from brittle.compression.moments import input_moments
from brittle.compression.nested import nest
from brittle.compression.nesting import Nesting
from brittle.compression.planning.paired import ROWS_EACH, Moments, call_order, paired_moments
from brittle.compression.planning.refit import RIDGE, refit

BATCH = 250


@dataclass(frozen=True, eq=False)
class Cut:
    """What was taken from a parent.

    Attributes:
        parent: the network as it was.
        couplings: all of its couplings.
        kept: couplings that lost units -> positions of those that stay.
        ranks: layers -> their rank; only ranks that save weights in the child.
        nested: other layers -> the nested sizes that they get, of their shape in the child.
    """

    parent: nn.Module
    couplings: Sequence[Coupling]
    kept: Mapping[str, Sequence[int]]
    ranks: Mapping[str, int]
    nested: Mapping[str, Nesting] = field(default_factory=dict)

    def changes(self, name: str) -> bool:
        """Whether a layer reads less, or is given a rank or modes."""
        return name in self.ranks or name in self.nested or self.stays(name, "in") is not None

    def stays(self, module: str, side: Side) -> Tensor | None:
        """The positions of a side that stay, ascending; None where all do."""
        lost = [
            position
            for coupling in self.couplings
            if coupling.name in self.kept
            for member in coupling.members
            if (member.module, member.side) == (module, side)
            for unit in set(range(coupling.units)) - set(self.kept[coupling.name])
            for position in member.index[unit]
        ]
        if not lost:
            return None
        mask = torch.ones(side_size(self.parent.get_submodule(module), side), dtype=torch.bool)
        mask[lost] = False
        return mask.nonzero()[:, 0]


class Mend(Protocol):
    """Gives the layers in `cut` their ranks and nested sizes; may change other weights, shapes follow from the cut."""

    def __call__(self, child: nn.Module, cut: Cut, x: Tensor, *, seed: int) -> nn.Module:
        """The mended network; the child may be changed. `x` are pixels (n, *shape) that choices may be made from."""


def plain(child: nn.Module, cut: Cut, x: Tensor, *, seed: int) -> nn.Module:
    """Truncated SVD of the layers with a rank, and of each mode of nested ones; nothing else changes."""
    child = factorise(child, cut.ranks)
    return nest(child, cut.nested) if cut.nested else child


def data_aware(child: nn.Module, cut: Cut, x: Tensor, *, seed: int) -> nn.Module:
    """Data-aware SVD of the layers with a rank, and data-aware modes, for what they receive before any is cut."""
    moments = input_moments(child, [*cut.ranks, *cut.nested], x, batch_size=BATCH, seed=seed)
    child = factorise(child, cut.ranks, moments=moments)
    return nest(child, cut.nested, moments=moments) if cut.nested else child


@dataclass(frozen=True)
class Refitted:
    """Every layer from the first changed one on is fitted again, in the order of their calls: see `refit`.

    Attributes:
        ridge: how strongly layers are held to their old weights.
        rows_each: rows of data for each input of a layer, see `paired_moments`.
    """

    ridge: float = RIDGE
    rows_each: int = ROWS_EACH

    def __call__(self, child: nn.Module, cut: Cut, x: Tensor, *, seed: int) -> nn.Module:
        """The mended network."""
        order = fittable(child, cut.parent, x)
        changed = [cut.changes(name) for name in order]
        layers = order[changed.index(True) :] if any(changed) else []

        def source(name: str) -> Moments:
            outputs = cut.stays(name, "out")
            return paired_moments(
                child,
                cut.parent,
                name,
                x,
                outputs=outputs,
                batch_size=BATCH,
                seed=seed,
                rows_each=self.rows_each,
            )

        return refit(child, layers, cut.ranks, source, self.ridge, cut.nested)


def fittable(child: nn.Module, parent: nn.Module, x: Tensor) -> list[str]:
    """Layers that can be fitted: plain ones that are called in both networks, in the order of the child's calls."""
    known = factorable(parent)
    return call_order(child, [name for name in factorable(child) if name in known], x[:1])
