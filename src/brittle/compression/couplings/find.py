"""Finding the couplings of a network: what can only go together, shown to be right."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.compression.computed import shared_with
from brittle.compression.couplings.coupling import Coupling
from brittle.compression.couplings.graph import graph_couplings
from brittle.compression.couplings.heads import head_couplings
from brittle.compression.couplings.shown import shown
from brittle.compression.couplings.sides import weight_of
from brittle.compression.duplicate import copied
from brittle.errors import ModelError
from brittle.models.fit import check_finite
from brittle.models.messages import first_line


def couplings(model: nn.Module, x: Tensor) -> tuple[Coupling, ...]:
    """The channels, neurons and attention heads of `model` that can be removed, in the order of the layers.

    Channels and neurons are followed through a dependency graph, heads are known by their classes; the widths of
    tokens, the ranks of low-rank pairs, the logits and the pixels are no units. Each coupling has passed the check of
    `brittle.compression.couplings.shown`. What cannot be shown right is left out, so the answer may be empty; shapes
    of layers alone decide it, not their weights.

    Args:
        model: maps pixels to logits (b, classes); it is left as it was.
        x: example pixels (b, *shape), b >= 2; only their shape matters.

    Raises:
        ModelError: tied or shared weights, weights that are not finite, or a model that does not run on x.
    """
    _check(model, x)
    shape = tuple(x.shape[1:])
    heads = head_couplings(model)
    inside = {member.module for coupling in heads for member in coupling.members if member.side == "out"}
    claimed = {(member.module, member.side) for coupling in heads for member in coupling.members}
    plain = [
        coupling
        for coupling in graph_couplings(_traceable(model), torch.rand(2, *shape, generator=_seeded()))
        if not any((member.module, member.side) in claimed or member.module in inside for member in coupling.members)
    ]
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    return shown(model, shape, sorted(heads + plain, key=lambda coupling: order[coupling.name]))


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _traceable(model: nn.Module) -> nn.Module:
    """A copy that the graph may be read from: float32 on the CPU, in evaluation mode, with gradients."""
    return copied(model).to("cpu", torch.float32).eval().requires_grad_(True)


def _check(model: nn.Module, x: Tensor) -> None:
    for name, other in shared_with(model).items():
        raise ModelError(
            f"layer {name!r} shares its weights with {other!r}: tied layers cannot lose channels one by one, give each "
            "its own copy"
        )
    for name, parameter in model.named_parameters():
        check_finite(name, parameter)
    if x.dim() < 2:
        raise ModelError(f"couplings need example pixels (b, *shape), got shape {tuple(x.shape)}")
    calls: dict[str, int] = {}
    probe = copied(model).to("cpu", torch.float64).eval().requires_grad_(False)
    for name, module in probe.named_modules():
        if weight_of(module) is not None:
            module.register_forward_hook(_counter(calls, name))
    try:
        with torch.no_grad():
            out = probe(torch.rand(2, *x.shape[1:], dtype=torch.float64, generator=_seeded()))
    except Exception as error:  # whatever a foreign forward pass raises
        raise ModelError(
            f"the model does not run on pixels of shape {tuple(x.shape[1:])} in float64 ({first_line(error)}): pass "
            "pixels that fit, and a model without a fixed number format"
        ) from error
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != 2:
        raise ModelError(f"expected logits (b, classes) from the model, got {_kind(out)}: wrap it so that it does")
    for name, count in calls.items():
        if count > 1:
            raise ModelError(
                f"layer {name!r} runs {count} times in one pass: shared layers cannot lose channels, give each place "
                "its own copy"
            )


def _counter(calls: dict[str, int], name: str):  # type: ignore[no-untyped-def]
    def count(*_: object) -> None:
        calls[name] = calls.get(name, 0) + 1

    return count


def _kind(out: object) -> str:
    return f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
