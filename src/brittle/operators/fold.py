"""Rewrites of a graph that change no value: low-rank pairs become one layer, batch norm joins the layer before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from brittle.operators.conv import ConvView
from brittle.operators.gains import scaled
from brittle.operators.graph import Affine, Graph, Node
from brittle.operators.linear import DenseView, FactorisedView, can_pair
from brittle.operators.pointwise import DiagonalView

# Views that are rows of the layer table.
Weight = DenseView | ConvView | FactorisedView


def drop_unread(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Only the input and what the output depends on."""
    needed = {0, len(nodes) - 1}
    for index in range(len(nodes) - 1, -1, -1):
        if index in needed:
            needed.update(nodes[index].inputs)
    kept = sorted(needed)
    place = {old: new for new, old in enumerate(kept)}
    return tuple(replace(nodes[i], inputs=tuple(place[j] for j in nodes[i].inputs)) for i in kept)


def merge_pairs(nodes: tuple[Node, ...], used: dict[str, list[str]]) -> tuple[Node, ...]:
    """Two linear maps in a row that are all there is in their parent module: one factorised layer of its name.

    Other linear maps in a row (the projections of a mobile net) stay apart, each a layer of its own.
    """

    def pair(first: Node, second: Node) -> Node | None:
        if not isinstance(first.op, Affine) or not isinstance(second.op, Affine):
            return None
        inner, outer = first.op.view, second.op.view
        if not isinstance(inner, DenseView | ConvView) or not isinstance(outer, DenseView | ConvView):
            return None
        parent = first.name.rpartition(".")[0]
        family = {name for name in used if name.startswith(parent + ".")}
        if not parent or family != {first.name, second.name}:
            return None
        if not can_pair(outer, inner):
            return None
        return Node(parent, Affine(FactorisedView(outer, inner), _through(first, second)), first.inputs, second.shape)

    return _fuse(nodes, pair)


def fold_scales(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """A per-channel gain right after a weight layer (batch norm in eval mode) becomes part of that layer."""

    def fold(first: Node, second: Node) -> Node | None:
        if not isinstance(first.op, Affine) or not isinstance(second.op, Affine):
            return None
        view, gain = first.op.view, second.op.view
        if not isinstance(view, Weight) or not isinstance(gain, DiagonalView):
            return None
        channels = _per_channel(gain, view)
        if channels is None:
            return None
        return replace(first, op=Affine(scaled(view, channels), _through(first, second)), shape=second.shape)

    return _fuse(nodes, fold)


def number_repeats(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """A weight layer's later uses (shared weights) get names of their own, so that a name stands for one operator."""
    count: dict[str, int] = {}
    out = []
    for node in nodes:
        if isinstance(node.op, Affine) and isinstance(node.op.view, Weight):
            count[node.name] = count.get(node.name, 0) + 1
            if count[node.name] > 1:
                node = replace(node, name=f"{node.name} (use {count[node.name]})")
        out.append(node)
    return tuple(out)


def _per_channel(gain: DiagonalView, view: Weight) -> Tensor | None:
    """The gain as one number per output channel (first axis after a convolution, else last); None where it varies."""
    outer = view.outer if isinstance(view, FactorisedView) else view
    axis = 0 if isinstance(outer, ConvView) else -1
    full = gain.scale.expand(gain.in_shape).movedim(axis, 0)
    full = full.reshape(len(full), -1)
    return full[:, 0].clone() if bool((full == full[:, :1]).all()) else None


def _through(first: Node, second: Node) -> Tensor | None:
    """The bias of `second after first`: second applied to first's bias on every position, plus its own."""
    assert isinstance(first.op, Affine)
    assert isinstance(second.op, Affine)
    if first.op.bias is None:
        return second.op.bias
    moved = second.op.view.apply(first.op.bias.expand(first.shape).unsqueeze(0).clone())[0]
    return moved if second.op.bias is None else moved + second.op.bias


def _fuse(nodes: tuple[Node, ...], rule: Callable[[Node, Node], Node | None]) -> tuple[Node, ...]:
    """Replace (first, second) by `rule(first, second)` wherever second is the only reader of first."""
    readers = Graph(nodes).consumers()
    out: list[Node] = []
    place: dict[int, int] = {}
    for index, node in enumerate(nodes):
        here = replace(node, inputs=tuple(place[i] for i in node.inputs))
        if len(node.inputs) == 1 and len(readers[node.inputs[0]]) == 1:
            fused = rule(out[here.inputs[0]], here)
            if fused is not None:
                out[here.inputs[0]] = fused
                place[index] = here.inputs[0]
                continue
        place[index] = len(out)
        out.append(here)
    return tuple(out)
