"""Couplings of convolutional and dense networks, read off the dependency graph of torch-pruning (Fang et al. 2023).

The package traces which layer feeds which, and how positions map through flatten, concat, split and additions. Here
units are followed along that graph, one label for each output of a first layer. Labels that meet at one position, or
in one group of a convolution, can only go together and become one unit. What the graph says is a guess until it has
been checked numerically (`brittle.compression.couplings.shown`).
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling, Member, Side
from brittle.compression.couplings.sides import CONVOLUTIONS, has_sides, makes_units, side_size, sized_alike
from brittle.compression.pairs import LOW_RANK

# Positions that one coupling may touch: maps through slices of unknown tensors can go on without an end.
_MOST = 500_000


def graph_couplings(model: nn.Module, x: Tensor) -> list[Coupling]:
    """Couplings of channels and neurons that the graph of `model(x)` suggests; none where it cannot be traced.

    `model` is in evaluation mode, its parameters require gradients; it may be changed. x is (b, *shape).
    """
    graph = _trace(model, x)
    if graph is None:
        return []
    names = {module: name for name, module in model.named_modules() if name}
    inner = {part.first for part in model.modules() if isinstance(part, LOW_RANK)}  # ranks are no units
    found: list[Coupling] = []
    claimed: set[tuple[str, Side, int]] = set()
    for root, name in names.items():
        if root not in graph.module2node or root in inner or not (has_sides(root) and makes_units(root)):
            continue
        if (name, "out", 0) in claimed:
            continue
        spread = _Spread(graph, names)
        coupling = spread.coupling(name, root) if spread.follow(root) else None
        if coupling is not None and not claimed & _places(coupling):
            found.append(coupling)
            claimed |= _places(coupling)
    return found


def _places(coupling: Coupling) -> set[tuple[str, Side, int]]:
    return {(m.module, m.side, position) for m in coupling.members for unit in m.index for position in unit}


def _trace(model: nn.Module, x: Tensor) -> Any | None:
    # Here, because it takes seconds to import.
    import torch_pruning  # type: ignore[import-untyped]

    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            return torch_pruning.DependencyGraph().build_dependency(
                model, x, forward_fn=lambda net, pixels: net(pixels), verbose=False
            )
    except Exception:  # it stumbles over what it does not know in many ways; such networks have no graph
        return None


class _Place(NamedTuple):
    """A position with the unit it belongs to, as the package's index maps take and return them."""

    idx: int
    root_idx: int


@dataclass
class _Spread:
    """Units of one layer, followed through the graph."""

    graph: Any
    names: dict[nn.Module, str]
    labels: dict[tuple[nn.Module, Side], dict[int, int]] = field(default_factory=dict)
    parents: list[int] = field(default_factory=list)
    touched: int = 0

    def follow(self, root: nn.Module) -> bool:
        """Follow all outputs of `root`; False where they reach something that cannot lose channels."""
        size = side_size(root, "out")
        self.parents = list(range(size))
        node = self.graph.module2node[root]
        pending = deque([(node, self._pruner(root).prune_out_channels, [_Place(i, i) for i in range(size)])])
        while pending:
            node, handler, places = pending.popleft()
            new = self._enter(node.module, handler, places)
            if new is None:
                return False
            for next_handler, moved in new:
                for edge in node.dependencies:
                    if edge.is_triggered_by(next_handler):
                        arrived = _mapped(moved, edge.index_mapping)
                        if arrived is None:
                            return False
                        pending.append((edge.target, edge.handler, arrived))
        return True

    def coupling(self, name: str, root: nn.Module) -> Coupling | None:
        """The coupling named after its first layer, None where units differ in size or nothing reads them."""
        order = sorted({self._unit(label) for label in range(len(self.parents))})
        rank = {unit: i for i, unit in enumerate(order)}
        members = []
        for (module, side), labels in self.labels.items():
            if module not in self.names or not has_sides(module):
                continue
            index: list[list[int]] = [[] for _ in order]
            for position, label in sorted(labels.items()):
                index[rank[self._unit(label)]].append(position)
            if not sized_alike(index, side_size(module, side)):
                return None
            members.append(Member(self.names[module], side, tuple(map(tuple, index))))
        if len(order) < 2 or all(member.side == "out" for member in members):
            return None  # a side that nothing reads is the network's output
        return Coupling(name, "neurons" if isinstance(root, nn.Linear) else "channels", len(order), tuple(members))

    def _enter(
        self, module: nn.Module, handler: Callable[..., Any], places: Sequence[_Place]
    ) -> list[tuple[Callable[..., Any], list[_Place]]] | None:
        """Label a module's positions; what to go on with, None at a module that must stay whole."""
        self.touched += len(places)
        if self.touched > _MOST or isinstance(module, nn.Parameter):
            return None
        if module in self.names and not has_sides(module) and _has_weights(module):
            return None
        pruner = self._pruner(module)
        if isinstance(module, CONVOLUTIONS) and module.groups > 1:
            return self._groups(module, places, inward=handler == pruner.prune_in_channels)
        side: Side = "out"
        if isinstance(module, (nn.Linear, *CONVOLUTIONS)) and handler == pruner.prune_in_channels:
            side = "in"
        new = self._label(module, side, places)
        return [(handler, new)] if new else []

    def _groups(
        self, module: nn.Module, places: Sequence[_Place], inward: bool
    ) -> list[tuple[Callable[..., Any], list[_Place]]]:
        """Whole groups of a convolution go: all labels of a group become one unit, on both of its sides."""
        assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        outputs, inputs = module.out_channels // module.groups, module.in_channels // module.groups
        arrived: dict[int, list[int]] = {}
        for place in places:
            arrived.setdefault(place.idx // (inputs if inward else outputs), []).append(place.root_idx)
        new_out: list[_Place] = []
        new_in: list[_Place] = []
        known = self.labels.setdefault((module, "out"), {})
        for group, labels in arrived.items():
            first = labels[0]
            for label in labels:
                self._join(first, label)
            if group * outputs in known:
                self._join(first, known[group * outputs])
                continue
            for position in range(group * outputs, (group + 1) * outputs):
                known[position] = first
                new_out.append(_Place(position, first))
            new_in += [_Place(position, first) for position in range(group * inputs, (group + 1) * inputs)]
        pruner = self._pruner(module)
        if not new_out:
            return []
        if pruner.prune_in_channels == pruner.prune_out_channels:  # of a depthwise convolution: one leads both ways
            return [(pruner.prune_out_channels, new_out)]
        return [(pruner.prune_out_channels, new_out), (pruner.prune_in_channels, new_in)]

    def _label(self, module: nn.Module, side: Side, places: Sequence[_Place]) -> list[_Place]:
        """Give positions their labels; those that had none before."""
        known = self.labels.setdefault((module, side), {})
        new = []
        for place in places:
            if place.idx in known:
                self._join(known[place.idx], place.root_idx)
            else:
                known[place.idx] = place.root_idx
                new.append(place)
        return new

    def _pruner(self, module: nn.Module) -> Any:
        return self.graph.get_pruner_of_module(module)

    def _unit(self, label: int) -> int:
        while self.parents[label] != label:
            self.parents[label] = self.parents[self.parents[label]]
            label = self.parents[label]
        return label

    def _join(self, a: int, b: int) -> None:
        low, high = sorted((self._unit(a), self._unit(b)))
        self.parents[high] = low


def _has_weights(module: nn.Module) -> bool:
    """Whether the module has parameters for its channels; one slope for all of them has nothing to remove."""
    if isinstance(module, nn.PReLU):
        return module.num_parameters > 1
    return any(parameter is not None for parameter in module._parameters.values())


def _mapped(places: Sequence[Any], maps: Sequence[Callable[[Any], Any] | None]) -> list[_Place] | None:
    """Positions on the other end of an edge, None where a map loses track of the units."""
    moved: Sequence[Any] = places
    for index_map in maps:
        if index_map is not None:
            moved = index_map(moved)
    found = [_Place(int(place.idx), place.root_idx) for place in moved]
    if any(place.root_idx is None or place.idx < 0 for place in found):
        return None
    return found
