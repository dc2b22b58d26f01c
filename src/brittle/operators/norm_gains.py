"""The gain of a layer norm joins the matrices that read it, as batch norm's joins the matrix before it.

`W (g * z + s) + b = (W diag(g)) z + (W s + b)`: exact where nothing but linear layers and convolutions reads the
normalised features, directly or through operations that only move them (transposes, windows, a class token's
selection, a mean over tokens). Where something else reads them too, a residual sum for one, the gain stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx

from brittle.operators.gains import prescaled
from brittle.operators.graph import Affine
from brittle.operators.linear import DenseView
from brittle.operators.program import Program, argument, functional, operator_name
from brittle.operators.view import LinearView

# Operations that move or average numbers: whether they keep features apart is checked on marked numbers.
_MOVES = frozenset(
    {
        "aten.view",
        "aten.reshape",
        "aten.flatten",
        "aten.unflatten",
        "aten.unsqueeze",
        "aten.squeeze",
        "aten.permute",
        "aten.transpose",
        "aten.slice",
        "aten.select",
        "aten.narrow",
        "aten.pad",
        "aten.roll",
        "aten.expand",
        "aten.mean",
        "aten.contiguous",
        "aten.clone",
        "aten.alias",
        "aten.detach",
        "aten.dropout",
        "aten.adaptive_avg_pool1d",
        "aten.adaptive_avg_pool2d",
    }
)
# Operators with a gain, the position of gain and shift among their arguments, and the gain's axis.
_NORMS: dict[str, tuple[int, int | None]] = {"aten.layer_norm": (2, 3), "aten.rms_norm": (2, None)}
# Operators that a gain can join: the axis of their input's features
_READERS = {"aten.linear": -1, "aten.conv1d": 1, "aten.conv2d": 1}


def hand_on_gain(program: Program, node: fx.Node, name: str) -> None:
    """Where `node` is a norm whose gain can join all its readers, tell the program so: it is theirs from here on."""
    if operator_name(node) not in _NORMS:
        return
    at, shift_at = _NORMS[operator_name(node)]
    weight = argument(node, at, "weight", None)
    shift = None if shift_at is None else argument(node, shift_at, "bias", None)
    gain = program.constant(weight)
    if gain is None or gain.dim() != 1:
        return
    readers = _readers(node, len(gain))
    if readers is None:
        return
    program.note(name, weight, shift)
    offset = program.constant(shift)
    for reader in readers:
        program.gains[reader] = gain, torch.zeros_like(gain) if offset is None else offset


def with_gain(program: Program, node: fx.Node, op: Affine) -> Affine:
    """A linear layer or convolution that has taken over the gain and the shift of the norm before it."""
    if node not in program.gains:
        return op
    gain, shift = program.gains[node]
    view = op.view
    axis = view.in_shape if isinstance(view, DenseView) else (len(gain), *(1,) * (len(view.in_shape) - 1))
    spread = shift.expand(axis) if isinstance(view, DenseView) else shift.view(axis).expand(view.in_shape)
    moved = _once(view, spread)
    return Affine(prescaled(view, gain), moved if op.bias is None else moved + op.bias)


def _once(view: LinearView, x: Tensor) -> Tensor:
    return view.apply(x.contiguous().unsqueeze(0))[0]


def _readers(norm: fx.Node, d: int) -> list[fx.Node] | None:
    """The layers that read the norm's d features and nothing else of it; None where anything else does."""
    marks = torch.arange(1.0, d + 1).expand(tuple(norm.meta["val"].shape))
    open_, found = [(norm, marks)], []
    while open_:
        node, values = open_.pop()
        if not node.users:
            return None
        for user in node.users:
            kind = operator_name(user)
            if kind in _READERS and user.args[0] is node and node not in user.args[1:]:
                if not _apart(values, d, _READERS[kind]):
                    return None
                found.append(user)
            elif kind in _MOVES and user.args[0] is node:
                moved = _moved(functional(user), values)
                if moved is None:
                    return None
                open_.append((user, moved))
            else:
                return None
    return found


def _moved(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor | None:
    out = function(values)
    return out if isinstance(out, Tensor) else None


def _apart(values: Tensor, d: int, axis: int) -> bool:
    """Whether index j along `axis` holds feature j alone, or zeros of a padding."""
    if values.dim() < 2 or values.shape[axis] != d:
        return False
    wanted = torch.arange(1.0, d + 1).view(-1, *(1,) * (values.dim() - 1 - axis % values.dim()))
    return bool((((values - wanted).abs() < 0.25) | (values == 0)).all())
