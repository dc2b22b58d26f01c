"""Which matrices a tensor holds: its shape, and its name where the name is certain. Legend: rows, columns as stored."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from brittle.checkpoints.files import Stored

_QKV = ("q", "k", "v")


@dataclass(frozen=True)
class Part:
    """A matrix inside a tensor, whose dimensions from the second on are flattened into columns.

    `index` picks one slice of a tensor of slices (experts); `outputs` is a range of outputs; with `transposed` the
    tensor stores (inputs, outputs), so that outputs are columns.
    """

    name: str
    index: int | None = None
    outputs: tuple[int, int] | None = None
    transposed: bool = False
    note: str = ""


@dataclass(frozen=True)
class _Fused:
    """Names of tensors that are several matrices stacked by outputs, and what they are called apart.

    `ratio` is outputs over inputs that makes it certain; None: any.
    """

    pattern: re.Pattern[str]
    parts: tuple[str, ...]
    ratio: int | None
    transposed: bool = False


# torch's MultiheadAttention; timm and its kin (its hybrids with "attn_block" and "attn_grid" interleave heads); GPT-2,
# whose Conv1D stores (inputs, outputs); Phi-3 and GLM. Fused names of other models interleave heads or group keys.
_FUSED = (
    _Fused(re.compile(r"(^|\.)in_proj_weight$"), _QKV, 3),
    _Fused(re.compile(r"^(?!.*attn_(block|grid)\.).*\battn\.qkv\.weight$"), _QKV, 3),
    _Fused(re.compile(r"(^|\.)c_attn\.weight$"), _QKV, 3, transposed=True),
    _Fused(re.compile(r"(^|\.)gate_up_proj\.weight$"), ("gate", "up"), None),
)
_CONV1D_BLOCK = re.compile(r"^(.*)attn\.c_attn\.weight$")
_CONV1D = re.compile(r"(attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight$")
_EXPERTS = re.compile(r"(^|[._])experts?([._]|$)")


def conv1d_blocks(tensors: Collection[Stored]) -> frozenset[str]:
    """Names' beginnings whose layers store (inputs, outputs), as GPT-2's: told by the shape of their `c_attn`."""
    found = set()
    for tensor in tensors:
        match = _CONV1D_BLOCK.match(tensor.name)
        if match and len(tensor.shape) == 2 and tensor.shape[1] == 3 * tensor.shape[0]:
            found.add(match[1])
    return frozenset(found)


def parts_of(tensor: Stored, conv1d: frozenset[str]) -> tuple[Part, ...]:
    """The matrices in a tensor of two or more dimensions."""
    base = module_name(tensor.name)
    if len(tensor.shape) == 2:
        return _fused(tensor, base) or (Part(base, transposed=_is_conv1d(tensor, conv1d)),)
    if len(tensor.shape) == 3 and _EXPERTS.search(tensor.name):
        note = "one slice of a tensor of experts: rows are its second dimension, be they outputs or inputs"
        return tuple(Part(f"{base}[{i}]", index=i, note=note) for i in range(tensor.shape[0]))
    return (Part(base),)


def module_name(name: str) -> str:
    """The layer's name as `brittle.structure` calls it: without the ".weight" at its end."""
    for ending in (".weight._data", ".weight"):
        if name.endswith(ending) and name != ending:
            return name.removesuffix(ending)
    return name.removesuffix("_weight") if name.endswith("in_proj_weight") else name


def _fused(tensor: Stored, base: str) -> tuple[Part, ...]:
    for fused in _FUSED:
        outputs, inputs = reversed(tensor.shape) if fused.transposed else tensor.shape
        fits = outputs % len(fused.parts) == 0 if fused.ratio is None else outputs == fused.ratio * inputs
        if fits and outputs > 0 and fused.pattern.search(tensor.name):
            size = outputs // len(fused.parts)
            return tuple(
                Part(f"{base}.{part}", outputs=(i * size, (i + 1) * size), transposed=fused.transposed)
                for i, part in enumerate(fused.parts)
            )
    return ()


def _is_conv1d(tensor: Stored, conv1d: frozenset[str]) -> bool:
    match = _CONV1D.search(tensor.name)
    return match is not None and tensor.name[: match.start()] in conv1d
