"""The map from pixels to a network's last representation: what its head, the last linear layer, reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from brittle.directions.linearise import Map
from brittle.errors import ModelError
from brittle.models.layers import LowRankLinear

_HEADS = (nn.Linear, LowRankLinear)


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """The model's outputs (b, classes) at x (b, *shape), with whatever graph there is.

    Raises:
        ModelError: the model does not take such inputs, or returns something else.
    """
    try:
        out = model(x)
    except Exception as error:  # anything may happen in a user's forward; all of it is one message
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the model does not take inputs of shape {tuple(x.shape)}: {first}") from error
    if not isinstance(out, Tensor):
        raise ModelError(
            f"expected a tensor of logits from the model, got {type(out).__name__}: wrap it so that it returns one"
        )
    if out.dim() != 2 or len(out) != len(x) or out.shape[1] == 0:
        raise ModelError(
            f"expected logits of shape ({len(x)}, classes), got {tuple(out.shape)}: the model must be a classifier "
            "with one score per class"
        )
    return out


def find_head(model: nn.Module, x: Tensor) -> nn.Module | None:
    """The last linear layer (dense or low-rank) whose output is the logits, found by running the model at x.

    None where the logits come from something else, or where the head is all there is to the model: then no layer
    separates pixels from logits.

    Raises:
        ModelError: as `logits_of`.
    """
    seen: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append((module, output))

    with ExitStack() as hooks, torch.no_grad():
        for module in model.modules():
            if isinstance(module, _HEADS):
                hooks.callback(module.register_forward_hook(note).remove)
        logits = logits_of(model, x)
    # A low-rank layer reports after its second factor, so it is found before it.
    for module, output in reversed(seen):
        if output.shape == logits.shape and torch.equal(output, logits):
            own = {id(p) for p in module.parameters()}
            return module if any(id(p) not in own for p in model.parameters()) else None
    return None


@contextmanager
def representation(model: nn.Module, x: Tensor) -> Iterator[tuple[str, Map]]:
    """`("representation", function)` with `function: (b, *shape) -> (b, D)` the flattened input of the model's head.

    Where `find_head` finds none, the logits stand in: `("logits", function)`. The function works inside the `with`
    statement; afterwards the model's hooks are as they were.

    Args:
        model: held still by the caller (`brittle.models.frozen`).
        x: a batch of samples (b, *shape) to try the model and find the head with.

    Raises:
        ModelError: as `logits_of`.
    """
    head = find_head(model, x)
    if head is None:
        yield "logits", model
        return
    caught: list[Tensor] = []

    def catch(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught[:] = [args[0] if args else next(iter(kwargs.values()))]

    def function(inputs: Tensor) -> Tensor:
        model(inputs)
        return caught.pop().flatten(1)

    hook = head.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        yield "representation", function
    finally:
        hook.remove()
