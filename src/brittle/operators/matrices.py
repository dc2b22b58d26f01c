"""Which weight matrices a model's modules hold: a table from module class to (neurons, fan-in) matrices.

Rows are outputs, whatever way round a module stores them. An embedding's rows are its entries: it is the transpose of
a linear map on one-hot vectors, and the way round in which an output layer shares it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from brittle.operators.fused import fused_rows
from brittle.operators.heads import Heads, heads_of

Cut = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Part:
    """One matrix of a weight: its row's name in the layer table, and how to cut it from the whole."""

    name: str
    cut: Cut
    heads: Heads | None = None


@dataclass(frozen=True)
class Held:
    """A weight of the module `path` and the matrices it holds.

    `tensors` are the attributes that belong to it, the weight first, then shifts; `whole` (h, d), or (experts, h, d),
    is a view of the module's own weight where it can be.
    """

    path: str
    tensors: tuple[str, ...]
    kind: str
    whole: Tensor
    parts: tuple[Part, ...]

    @property
    def label(self) -> str:
        """What the reader of a graph calls the weight: its module, or the parameter where it is no `weight`."""
        parameter = f"{self.path}.{self.tensors[0]}".removeprefix(".")
        return parameter.removesuffix(".weight")

    def owns(self, parameter: str) -> bool:
        """Whether a parameter of this name is the weight or one of its shifts, or is what either is computed from."""
        own = parameter.removeprefix(f"{self.path}." if self.path else "")
        return own in self.tensors or any(own.startswith(f"parametrizations.{tensor}.") for tensor in self.tensors)


def held_matrices(model: nn.Module) -> Iterator[Held]:
    """All weights whose matrices are known, module by module in the model's order; shared ones come up every time."""
    for path, module in model.named_modules():
        parent, _, leaf = path.rpartition(".")
        around = model.get_submodule(parent) if path else None
        if isinstance(module, nn.MultiheadAttention):
            yield from _multihead(path, module)
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            yield from _recurrent(path, module)
        elif _is_experts(module):
            yield from _experts(path, module)
        else:
            found = _plain(module)
            if found is not None and found[1].is_floating_point() and found[1].numel():
                kind, whole = found
                yield Held(path, ("weight", "bias"), kind, whole, _parts(path, leaf, around, whole, kind))


def _plain(module: nn.Module) -> tuple[str, Tensor] | None:
    """Kind and matrix (h, d) of a module with one weight; None for a module that is not known."""
    match module:
        case nn.Linear():
            return "linear", module.weight
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            return f"conv{module.weight.dim() - 2}d", module.weight.flatten(1)
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d():
            return f"conv-transpose{module.weight.dim() - 2}d", _outputs_first(module.weight, module.groups)
        case nn.Embedding() | nn.EmbeddingBag():
            return "embedding", module.weight
    if _is_router(module):
        return "linear", module.weight  # type: ignore[return-value]
    if f"{type(module).__module__}.{type(module).__qualname__}" == "transformers.pytorch_utils.Conv1D":
        return "linear", module.weight.T  # type: ignore[return-value]  # stored as (fan-in, neurons)
    return None


def _outputs_first(weight: Tensor, groups: int) -> Tensor:
    """(c_in, c_out / g, ...) of a transposed convolution as (c_out, c_in / g * ...)."""
    grouped = weight.unflatten(0, (groups, -1)).transpose(1, 2)
    return grouped.flatten(0, 1).flatten(1)


def _parts(path: str, leaf: str, around: nn.Module | None, whole: Tensor, kind: str) -> tuple[Part, ...]:
    name, (h, d) = path or "weight", whole.shape
    if kind != "linear":
        return (Part(name, _all),)
    rows = fused_rows(around, leaf, h)
    if rows is None:
        return (Part(name, _all, heads_of(around, leaf, (h, d))),)
    return tuple(
        Part(f"{name}.{letter}", _rows(places), heads_of(around, letter, (len(whole[places]), d)))
        for letter, places in rows.items()
    )


def _multihead(path: str, attention: nn.MultiheadAttention) -> Iterator[Held]:
    """Queries, keys and values of torch's attention; its projection after is a layer of its own."""
    prefix, e = f"{path}." if path else "", attention.embed_dim
    if attention.in_proj_weight is not None:
        whole = attention.in_proj_weight
        parts = tuple(
            Part(f"{prefix}in_proj.{letter}", _rows(slice(i * e, (i + 1) * e)), Heads(attention.num_heads, 0))
            for i, letter in enumerate("qkv")
        )
        yield Held(path, ("in_proj_weight", "in_proj_bias"), "linear", whole, parts)
        return
    for letter in "qkv":  # the shift of all three is one vector; it is counted with the queries
        tensors = (f"{letter}_proj_weight", *(("in_proj_bias",) if letter == "q" else ()))
        whole = getattr(attention, tensors[0])
        yield Held(
            path, tensors, "linear", whole, (Part(f"{prefix}{letter}_proj", _all, Heads(attention.num_heads, 0)),)
        )


def _recurrent(path: str, module: nn.RNNBase | nn.RNNCellBase) -> Iterator[Held]:
    """Each matrix of a recurrent layer, its gates one below the other."""
    prefix = f"{path}." if path else ""
    for name, weight in module.named_parameters(recurse=False):
        if weight.dim() == 2 and name.startswith("weight_"):
            shift = name.replace("weight_", "bias_")
            yield Held(path, (name, shift), "recurrent", weight, (Part(prefix + name, _all),))


def _is_router(module: nn.Module) -> bool:
    """Hub models' choice among experts: a plain matrix with one row for each of them."""
    weight, count = getattr(module, "weight", None), getattr(module, "num_experts", None)
    return isinstance(weight, Tensor) and weight.dim() == 2 and len(weight) == count != weight.shape[1]


def _is_experts(module: nn.Module) -> bool:
    """Hub models' experts in one tensor: the module itself says which way round its matrices are stored."""
    return isinstance(getattr(module, "is_transposed", None), bool) and isinstance(
        getattr(module, "num_experts", None), int
    )


def _experts(path: str, module: nn.Module) -> Iterator[Held]:
    """One matrix for each expert of each weight (experts, h, d), or (experts, d, h) where stored transposed."""
    for name, weight in module.named_parameters(recurse=False):
        if weight.dim() == 3 and len(weight) == module.num_experts and not name.endswith("_bias"):
            whole = weight.mT if module.is_transposed else weight
            parts = tuple(Part(f"{path}.{name}.{i}".removeprefix("."), _expert(i)) for i in range(len(weight)))
            yield Held(path, (name, f"{name}_bias"), "expert", whole, parts)


def _all(w: Tensor) -> Tensor:
    return w


def _rows(places: slice | Tensor) -> Cut:
    return lambda w: w[places]


def _expert(i: int) -> Cut:
    return lambda w: w[i]
