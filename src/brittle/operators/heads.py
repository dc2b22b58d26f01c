"""How an attention layer's matrix is made of heads: rows of queries, keys and values, columns of the projection after.

Legend: a head's width is the number of rows (or columns) that belong to it; heads lie one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

# Names of layers inside an attention module; its own attributes say how many heads it has and how wide they are.
ROWS = frozenset({"q", "k", "v", "query", "key", "value", "q_proj", "k_proj", "v_proj", "to_q", "to_k", "to_v"})
COLUMNS = frozenset({"proj", "out_proj", "o_proj", "c_proj", "wo", "Wo"})
_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads")
_WIDTHS = ("head_dim", "attention_head_size")


@dataclass(frozen=True)
class Heads:
    """`count` equal parts of a matrix, along its rows (axis 0) or its columns (axis 1)."""

    count: int
    axis: int

    def cut(self, w: Tensor) -> Tensor:
        """The heads of w (h, d): (count, h / count, d) or (count, h, d / count)."""
        if self.axis == 0:
            return w.view(self.count, -1, w.shape[1])
        return w.view(len(w), self.count, -1).transpose(0, 1)


def heads_of(attention: nn.Module | None, layer: str, shape: tuple[int, int]) -> Heads | None:
    """The heads of the matrix (h, d) that `attention` calls `layer`; None where it is not certain that it has any.

    With fewer keys and values than queries (grouped queries) the number of heads follows from their width.
    """
    axis = 0 if layer in ROWS else 1 if layer in COLUMNS else None
    width, count = _first(attention, _WIDTHS), _first(attention, _COUNTS)
    if count is None and width is not None:  # hub models leave the count in their configuration
        count = _first(getattr(attention, "config", None), _COUNTS)
    if axis is None or count is None:
        return None
    if width is None:
        width, rest = divmod(shape[axis], count)
        if rest:
            return None
    if width < 1 or shape[axis] % width or count % (shape[axis] // width):
        return None
    return Heads(shape[axis] // width, axis)


def _first(module: object, names: tuple[str, ...]) -> int | None:
    for name in names:
        value = getattr(module, name, None)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
