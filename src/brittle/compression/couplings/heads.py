"""Attention heads as units: the rows of q, k and v that make a head go together with the columns that read it.

Only whole heads are units. Legend: e inner width of attention, heads times the width of a head.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.compression.couplings.sides import has_sides, side_size
from brittle.errors import ModelError
from brittle.models.attention import SelfAttention, check_multihead
from brittle.models.layers import LowRankLinear
from brittle.models.vit_blocks import Attention


def head_couplings(model: nn.Module) -> list[Coupling]:
    """One coupling for each attention module with two heads or more, as its class alone tells; not checked yet."""
    found = []
    for path, module in model.named_modules():
        for describes, read in _KINDS:
            if describes(module):
                coupling = read(path, module)
                if coupling is not None and coupling.units > 1:
                    found.append(coupling)
                break
    return found


def _is_separate(module: nn.Module) -> bool:
    return isinstance(module, Attention | SelfAttention)


def _separate(path: str, module: nn.Module) -> Coupling | None:
    """q, k, v and proj as layers of their own, each perhaps a low-rank pair."""
    assert isinstance(module, Attention | SelfAttention)
    ends = {name: _end(module, name, first=name == "proj") for name in ("q", "k", "v", "proj")}
    if not all(has_sides(module.get_submodule(end)) for end in ends.values()):
        return None
    inner = side_size(module.get_submodule(ends["q"]), "out")
    blocks = _blocks(module.heads, inner // module.heads)
    made = tuple(Member(_join(path, ends[name]), "out", blocks) for name in ("q", "k", "v"))
    return Coupling(path, "heads", module.heads, (*made, Member(_join(path, ends["proj"]), "in", blocks)))


def _is_torch(module: nn.Module) -> bool:
    return type(module) is nn.MultiheadAttention


def _torch(path: str, module: nn.Module) -> Coupling | None:
    assert isinstance(module, nn.MultiheadAttention)
    try:
        check_multihead(module)
    except ModelError:  # what no smaller module can stand in for
        return None
    blocks = _blocks(module.num_heads, module.head_dim)
    made = Member(path, "out", _thrice(blocks, module.embed_dim))
    return Coupling(path, "heads", module.num_heads, (made, Member(_join(path, "out_proj"), "in", blocks)))


def _is_joint(module: nn.Module) -> bool:
    """timm's attention: one dense layer for q, k and v. A bias for each head, or a gate, would have to shrink too."""
    parts = dict(module.named_children())
    return (
        any(base.__name__ == "Attention" for base in type(module).__mro__)
        and isinstance(parts.get("qkv"), nn.Linear)
        and isinstance(parts.get("proj"), nn.Linear)
        and type(getattr(module, "num_heads", None)) is int
        and not any(parameter is not None for parameter in module._parameters.values())
        and all(
            name in ("qkv", "proj", "q_norm", "k_norm") or next(part.parameters(), None) is None
            for name, part in parts.items()
        )
    )


def _joint(path: str, module: nn.Module) -> Coupling | None:
    qkv, proj = module.get_submodule("qkv"), module.get_submodule("proj")
    heads = int(module.num_heads)  # type: ignore[arg-type]
    inner = side_size(proj, "in")
    if not (has_sides(qkv) and has_sides(proj)) or side_size(qkv, "out") != 3 * inner or inner % heads:
        return None
    blocks = _blocks(heads, inner // heads)
    made = Member(_join(path, "qkv"), "out", _thrice(blocks, inner))
    return Coupling(path, "heads", heads, (made, Member(_join(path, "proj"), "in", blocks)))


_KINDS: tuple[tuple[Callable[[nn.Module], bool], Callable[[str, nn.Module], Coupling | None]], ...] = (
    (_is_separate, _separate),
    (_is_torch, _torch),
    (_is_joint, _joint),
)


def _end(module: nn.Module, name: str, first: bool) -> str:
    """The plain layer at the input (`first`) or the output of a layer that may be a low-rank pair."""
    return f"{name}.{'first' if first else 'second'}" if isinstance(getattr(module, name), LowRankLinear) else name


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _blocks(heads: int, width: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(range(head * width, (head + 1) * width)) for head in range(heads))


def _thrice(blocks: tuple[tuple[int, ...], ...], inner: int) -> tuple[tuple[int, ...], ...]:
    """The positions of each head in the joined rows of q, k and v."""
    return tuple(tuple(part * inner + i for part in range(3) for i in block) for block in blocks)
