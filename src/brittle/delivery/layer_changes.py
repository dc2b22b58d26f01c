"""The table of layers before and after a compression, read off the two networks.

Legend: h neurons or filters, d fan-in, r rank.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from brittle.compression.nested import NESTED, mixtures, nested_shape
from brittle.compression.pairs import LOW_RANK, kernel_shape, rank_of
from brittle.results.compression import LayerChange


def layer_changes(parent: nn.Module, child: nn.Module) -> tuple[LayerChange, ...]:
    """A row for each layer of the parent with a weight matrix or kernel, in the order of its modules.

    A low-rank pair, a nested layer and an attention module with joint weights count as one layer. What the child has
    under the same name is taken for what became of it; norms and other vectors are in neither column.
    """
    own = dict(child.named_modules())
    return tuple(_row(name, layer, own.get(name)) for name, layer in _layers(parent))


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules that own a matrix or are a pair, but none inside another."""
    inside: str | None = None
    for name, module in model.named_modules():
        if inside is not None and name.startswith(inside):
            continue
        if isinstance(module, (*LOW_RANK, *NESTED)) or any(_is_matrix(p) for p in module.parameters(recurse=False)):
            inside = f"{name}." if name else ""
            yield name, module


def _is_matrix(weight: Tensor) -> bool:
    return weight.dim() >= 2


def _row(name: str, before: nn.Module, after: nn.Module | None) -> LayerChange:
    weights = [] if after is None else [p for p in after.parameters() if _is_matrix(p)]
    count = sum(w.numel() for w in weights)
    return LayerChange(
        name=name,
        before=_shape(before),
        after=() if after is None else _shape(after),
        rank=_rank(after),
        density=sum(int(w.count_nonzero()) for w in weights) / count if count else 0.0,
        parameters_before=_size(before),
        parameters_after=0 if after is None else _size(after),
        modes=mixtures(after) if isinstance(after, NESTED) else None,
    )


def _rank(layer: nn.Module | None) -> int | None:
    core = layer.core if isinstance(layer, NESTED) else layer
    return rank_of(core) if isinstance(core, LOW_RANK) else None


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _shape(module: nn.Module) -> tuple[int, ...]:
    """The shape of the weight; of a pair or nested layer of the product, of attention of q, k and v together."""
    if isinstance(module, LOW_RANK):
        return tuple(kernel_shape(module))
    if isinstance(module, NESTED):
        return nested_shape(module)
    if all(hasattr(module, name) for name in ("q", "k", "v")):
        parts = [_shape(module.get_submodule(name)) for name in ("q", "k", "v")]
        return (sum(part[0] for part in parts), parts[0][1])
    matrices = [tuple(p.shape) for p in module.parameters() if _is_matrix(p)]
    return matrices[0] if matrices else ()
