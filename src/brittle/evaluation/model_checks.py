"""Preflight of a model: is it something whose robustness can be measured?

A "problem" would make every number meaningless; a "warning" tells the reader what to be careful about.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.attacks.gradient import input_gradient
from brittle.attacks.losses import margin
from brittle.errors import BrittleError, DataError, ModelError
from brittle.evaluation.batches import batches, check_logits, device_of, prepare
from brittle.evaluation.intervals import wilson
from brittle.models.frozen import frozen
from brittle.results.audit import Check

# Differences of logits, relative to 1 + the largest logit: rounding of one computation, and of another batch shape.
_SAME = 1e-5
_SAME_ELSEWHERE = 1e-3
# How closely rows must sum to one to be taken for probabilities.
_SUM = 1e-3


def model_checks(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int) -> tuple[Check, ...]:
    """Findings about `model` at samples x (n, *shape) with labels y (n,); a few hundred samples suffice.

    The first problem ends the list: what follows would rest on it. The model comes back in the mode it came in.

    Raises:
        UsageError, DataError: batch size or samples that cannot be used (the model is not to blame).
    """
    prepare(x, y, None, batch_size)
    found = [_mode(model)]
    with frozen(model):
        try:
            logits = _logits(model, x, y, batch_size)
        except (ModelError, DataError) as error:
            return (*found, Check("finite logits for every label", "problem", str(error)))
        found.append(Check("finite logits for every label", "ok", f"{logits.shape[1]} classes"))
        for check in (_deterministic, _independent):
            found.append(check(model, x, y, batch_size))
            if found[-1].verdict == "problem":
                return tuple(found)
        found += [_probabilities(logits), _above_chance(logits, y), _gradients(model, x, y, batch_size)]
    return tuple(found)


def _mode(model: nn.Module) -> Check:
    if any(module.training for module in model.modules()):
        advice = "the model came in train mode: measured in evaluation mode, and set back afterwards"
        return Check("evaluation mode", "warning", advice)
    return Check("evaluation mode", "ok", "dropout is off and batch norm uses its running statistics")


def _forward(model: nn.Module, x: Tensor) -> object:
    try:
        with torch.no_grad():
            return model(x)
    except BrittleError:
        raise
    except Exception as error:  # the model is foreign code: whatever it raises is a finding about it
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"the model fails on pixels of shape {tuple(x.shape)}, {x.dtype}: {first}") from error


def _logits(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    device = device_of(model, x)
    rows = torch.arange(len(x), device=x.device)
    parts = [check_logits(_forward(model, x[part].to(device)), y[part]) for part in batches(rows, batch_size)]
    return torch.cat(parts).to(x.device)


def _deterministic(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Check:
    first, second = (_logits(model, x[:batch_size], y[:batch_size], batch_size) for _ in range(2))
    apart = _apart(first, second)
    if apart > _SAME:
        advice = (
            f"two forward passes differ by {apart:.2g} (relative): random layers stay active in evaluation mode; "
            "make them deterministic, attacks on noise prove nothing"
        )
        return Check("deterministic", "problem", advice)
    return Check("deterministic", "ok", "two forward passes agree")


def _independent(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Check:
    x, y = x[:batch_size], y[:batch_size]
    apart = _apart(_logits(model, x, y, batch_size)[:1], _logits(model, x[:1], y[:1], 1))
    if apart > _SAME_ELSEWHERE:
        advice = (
            f"a sample's logits change by {apart:.2g} (relative) with the others in its batch: use running statistics "
            "in batch norm, or results would depend on the batch size"
        )
        return Check("samples do not affect each other", "problem", advice)
    return Check("samples do not affect each other", "ok", "alone or in a batch, the first sample has the same logits")


def _probabilities(logits: Tensor) -> Check:
    if bool((logits >= 0).all()) and float((logits.sum(1) - 1).abs().max()) < _SUM:
        advice = "the outputs are probabilities (rows in [0, 1] that sum to 1): remove the softmax, it hides gradients"
        return Check("logits, not probabilities", "warning", advice)
    return Check("logits, not probabilities", "ok", "the outputs are unnormalised scores")


def _above_chance(logits: Tensor, y: Tensor) -> Check:
    right, n, chance = int((logits.argmax(1) == y).sum()), len(y), 1.0 / logits.shape[1]
    if wilson(right, n)[0] <= chance:
        advice = (
            f"{right} of {n} samples are right, no better than chance ({chance:.3g}): check the normalisation "
            "(pixels come in [0, 1]), the order of channels and of classes, and that the weights were loaded"
        )
        return Check("accuracy above chance", "warning", advice)
    return Check("accuracy above chance", "ok", f"{right} of {n} samples are right")


def _gradients(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Check:
    name, device = "input gradients", device_of(model, x)
    try:
        _, _, gradient = input_gradient(model, x[:batch_size].to(device), y[:batch_size].to(device), margin)
    except (ModelError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        return Check(name, "warning", f"gradient attacks cannot see this model, their accuracy is no bound: {first}")
    if not bool(gradient.any()):
        advice = "every input gradient is zero (rounding or thresholds inside?): gradient attacks cannot see this model"
        return Check(name, "warning", advice)
    return Check(name, "ok", "gradients flow from the logits to the pixels")


def _apart(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max() / (1 + first.abs().max()))
