"""The model to be measured: a frozen copy on the right device and in the right number format."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.gradient import input_gradient
from brittle.errors import ModelError
from brittle.evaluation.batches import check_logits
from brittle.models.fit import check_finite
from brittle.models.frozen import frozen
from brittle.models.messages import first_line
from brittle.operators.network import Network
from brittle.operators.twin import readable_copy
from brittle.operators.view import size
from brittle.results.audit import Check

# Up to this many multiply-adds for one input the network is evaluated in float64.
_FLOAT64_WORK = 5e6

_SHORT = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Twin:
    """The copy that is measured, its number format, what people should know about it, and whether it has gradients."""

    model: nn.Module
    dtype: torch.dtype
    checks: tuple[Check, ...]
    gradients: bool = True


def choose_dtype(network: Network, asked: torch.dtype | None) -> torch.dtype:
    """float64 for small networks: there an attack's path does not hang on rounding, so neither on the batch size."""
    if asked is not None:
        return asked
    if network.graph is None:
        return torch.float32
    work = sum(size(layer.view.out_shape) * layer.view.terms for layer in network.layers)
    return torch.float64 if work <= _FLOAT64_WORK else torch.float32


def check_model(model: nn.Module, x: Tensor, y: Tensor, device: str, *, black_box: bool = False) -> bool:
    """Refuse a model that no audit could measure on samples x (n, *shape), y (n,), after one forward pass.

    Returns whether it has gradients; without `black_box` one that has none is refused.

    Raises:
        ModelError: weights that are not finite, a model that does not run, returns no logits or has no gradients.
        DataError: labels that the model has no logit for.
    """
    return twin(model, x, y, torch.float32, device, black_box=black_box).gradients


def twin(model: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype, device: str, *, black_box: bool = False) -> Twin:
    """A copy of `model` in eval mode with frozen parameters, tried on the first sample; the original is never touched.

    A model that does not run in float64 is taken in float32, and a check says so. Without `black_box` a model that has
    no gradients is refused.

    Raises:
        ModelError: weights that are not finite, a model that does not run, returns no logits or has no gradients.
        DataError: labels that the model has no logit for.
    """
    for name, weight in (*model.named_parameters(), *model.named_buffers()):
        check_finite(name, weight)
    checks = _weights_format(model, dtype)
    try:
        other, gradients = _tried(model, x, y, dtype, device, black_box)
        return Twin(other, dtype, checks, gradients)
    except ModelError:
        if dtype == torch.float32:
            raise
    other, gradients = _tried(model, x, y, torch.float32, device, black_box)
    advice = "the model runs in float32 only: results hold up to its rounding, and may hang on the batch size"
    return Twin(other, torch.float32, (*checks, Check("number format", "warning", advice)), gradients)


def check_runs(model: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Refuse a model that does not run on inputs of this shape.

    Raises:
        ModelError: it fails on one grey input.
    """
    _forward(model, torch.full((1, *input_shape), 0.5), torch.float32, "cpu")


def _forward(model: nn.Module, x: Tensor, dtype: torch.dtype, device: str) -> tuple[nn.Module, object]:
    """A frozen copy and what it returns for one input x (1, *shape)."""
    copied = readable_copy(model)
    try:
        other = copied.to(device=torch.device(device), dtype=dtype)
        with torch.no_grad():
            return other, other(x.to(dtype).to(device))
    except Exception as error:  # the model is foreign code
        raise ModelError(
            f"the model does not accept inputs of shape {tuple(x.shape[1:])} ({first_line(error)}): "
            "check that model and data belong together"
        ) from None


def _tried(
    model: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype, device: str, black_box: bool
) -> tuple[nn.Module, bool]:
    other, logits = _forward(model, x[:1], dtype, device)
    label = y[:1].to(device)
    one = check_logits(logits, label)
    check_logits(one.cpu().expand(len(y), -1), y)  # a place for every label, not for the first alone
    try:
        if any(hasattr(module, "_packed_params") for module in other.modules()):  # torch would answer with zeros
            raise ModelError("torch's quantised layers are not differentiable")
        with frozen(other):
            input_gradient(other, x[:1].to(dtype).to(device), label, _sum)
    except Exception as error:
        if black_box:
            return other, False
        raise ModelError(
            f"the logits have no gradient in the pixels ({first_line(error)}): attacks need one; audit the "
            "differentiable model that this one was made from"
        ) from None
    return other, True


def _sum(logits: Tensor, y: Tensor) -> Tensor:
    return logits.sum(1)


def _weights_format(model: nn.Module, dtype: torch.dtype) -> tuple[Check, ...]:
    halves = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.dtype in _SHORT})
    if not halves:
        return ()
    advice = f"the weights are {', '.join(halves)}, measured in {str(dtype).removeprefix('torch.')}: the rounding of "
    return (Check("weights", "warning", advice + "the shorter format is not part of the results"),)
