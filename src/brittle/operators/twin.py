"""A copy of a user's model that can be read: evaluation mode, float64, weights that hooks compute made plain."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from brittle.errors import ModelError


def readable_copy(model: nn.Module) -> nn.Module:
    """A frozen float64 copy of `model` on the CPU in eval mode; the model itself stays as it was.

    Masks of `torch.nn.utils.prune` are applied for good in the copy, so that its weights are parameters again.

    Raises:
        ModelError: the model cannot be copied.
    """
    # deepcopy refuses tensors with a history, such as the masked weights that torch's pruning leaves in a module.
    memo: dict[int, object] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        twin = copy.deepcopy(model, memo)
        for module in twin.modules():
            _apply_masks(module)
        return twin.cpu().to(torch.float64).eval().requires_grad_(False)
    except Exception as error:
        raise ModelError(f"the model cannot be copied ({error}); pass a plain nn.Module") from error


def computes_weights(model: nn.Module) -> bool:
    """Whether some module's weights are computed from other tensors (parametrised, or by a hook before each call)."""
    return any(hasattr(module, "parametrizations") or module._forward_pre_hooks for module in model.modules())


def _apply_masks(module: nn.Module) -> None:
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)
