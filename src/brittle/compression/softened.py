"""A softer function: the same answers, smaller logits.

A net that goes on training at a held scale keeps its margins small, where plain training would grow them, and with them
its sensitivity. Softening first gives it room to learn from: the loss of a confident net has hardly a gradient left.
"""

from __future__ import annotations

import copy
from math import isfinite

import torch
from torch import nn

from brittle.compression.factorable import head_name
from brittle.errors import ModelError, UsageError


def soften(model: nn.Module, factor: float) -> nn.Module:
    """A copy whose logits are `factor` times as large: weights and bias of its last dense layer are multiplied.

    Predictions and the directions of input gradients of logit differences stay; temperature 1 / factor, so to speak.

    Args:
        model: any module that ends in a dense layer; left as it was.
        factor: in (0, 1].

    Raises:
        UsageError: a factor outside (0, 1].
        ModelError: a model that ends in no dense layer.
    """
    if not (isfinite(factor) and 0 < factor <= 1):
        raise UsageError(f"logits are made softer by a factor in (0, 1], got {factor!r}: 0.1 is usual")
    name = head_name(model)
    head = model.get_submodule(name) if name else None
    if not isinstance(head, nn.Linear):
        raise ModelError("the model ends in no dense layer, so its logits cannot be made softer: leave it as it is")
    child = copy.deepcopy(model)
    last = child.get_submodule(name or "")
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(factor)
    return child
