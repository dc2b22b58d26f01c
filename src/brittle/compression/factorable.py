"""Which layers can be replaced by a low-rank pair, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from brittle.compression.computed import computes_weight, shared_with
from brittle.compression.pairs import LOW_RANK
from brittle.models.layers import LowRankLinear

# Modules whose forward reads the weights of these children instead of calling them (beside attention's own projection,
# which has a class of its own). Two belong to torchvision, which need not be installed, so classes go by name.
_READ_BY_PARENT: dict[str, tuple[str, ...]] = {
    "TransformerEncoderLayer": ("linear1", "linear2"),
    "ShiftedWindowAttention": ("qkv", "proj"),
    "ShiftedWindowAttentionV2": ("qkv", "proj"),
}


def factorable(model: nn.Module) -> dict[str, nn.Module]:
    """Dense layers, convolutions and low-rank pairs that `factorise` takes, by name in the model's order.

    A pair is one layer: it can be cut to a lower rank.
    """
    return {name: module for name, module, why in _examined(model) if why is None}


def left_out(model: nn.Module) -> dict[str, str]:
    """The dense layers and two-dimensional convolutions that `factorise` refuses, each with the reason."""
    return {name: why for name, _, why in _examined(model) if why is not None}


def head_name(model: nn.Module) -> str | None:
    """The last dense layer (or pair of dense layers) that the model holds, None where it has none."""
    linear = [name for name, module, _ in _examined(model) if isinstance(module, nn.Linear | LowRankLinear)]
    return linear[-1] if linear else None


def _examined(model: nn.Module) -> Iterator[tuple[str, nn.Module, str | None]]:
    """Each weight layer with the reason why it cannot be factorised, None where it can."""
    inside: set[nn.Module] = set()
    shared = shared_with(model)
    for name, module in model.named_modules():
        if module in inside or not isinstance(module, (nn.Linear, nn.Conv2d, *LOW_RANK)):
            continue
        inside.update(module.modules())
        yield name, module, _why_not(model, name, module, shared)


def _why_not(model: nn.Module, name: str, module: nn.Module, shared: dict[str, str]) -> str | None:
    if not name:
        return "it is the whole model, so nothing holds a place for the pair: wrap it in nn.Sequential"
    parent, _, leaf = name.rpartition(".")
    if isinstance(module, NonDynamicallyQuantizableLinear) or _read_by(model.get_submodule(parent), leaf):
        return "the module around it reads its weights without calling it, so it must stay a plain layer"
    for part in module.modules():
        if not isinstance(part, nn.Linear | nn.Conv2d):
            continue
        if computes_weight(part):
            return "it computes its weights: bake its parametrisations in before factorising"
        if not part.weight.is_floating_point():
            return f"its weights are {str(part.weight.dtype).removeprefix('torch.')}, expected floating point"
    for path in (name, f"{name}.first", f"{name}.second"):
        if path in shared:
            return f"it shares its weights with {shared[path]!r}: tied layers cannot change shape one by one"
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        return f"a convolution with {module.groups} groups cannot be factorised: expected groups = 1"
    if _overridden(module):
        return f"its class {type(module).__name__} computes more than a plain layer does"
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        return "it has hooks, which a new layer would lose: remove them first"
    return None


def _read_by(parent: nn.Module, leaf: str) -> bool:
    return any(leaf in _READ_BY_PARENT.get(base.__name__, ()) for base in type(parent).__mro__)


def _overridden(module: nn.Module) -> bool:
    """Whether a subclass of a plain layer has a forward pass of its own."""
    for plain, methods in ((nn.Linear, ("forward",)), (nn.Conv2d, ("forward", "_conv_forward"))):
        if isinstance(module, plain):
            return any(getattr(type(module), method) is not getattr(plain, method) for method in methods)
    return False
