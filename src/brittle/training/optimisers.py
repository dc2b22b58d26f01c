"""Optimisers by name. Each is a tuple of torch optimisers that together hold every parameter once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from brittle.errors import UsageError
from brittle.training.matrices import head_of

# (model, peak learning rate, weight decay, momentum) -> optimisers.
Build = Callable[[nn.Module, float, float, float], tuple[Optimizer, ...]]


def sgd(model: nn.Module, rate: float, decay: float, momentum: float) -> tuple[Optimizer, ...]:
    """Stochastic gradient descent, no momentum; the decay joins the gradient, which here is decoupled decay."""
    return (SGD(model.parameters(), lr=rate, weight_decay=decay),)


def heavy_ball(model: nn.Module, rate: float, decay: float, momentum: float) -> tuple[Optimizer, ...]:
    """Stochastic gradient descent with Polyak's momentum; the decay joins the gradient."""
    return (SGD(model.parameters(), lr=rate, weight_decay=decay, momentum=momentum),)


def nesterov(model: nn.Module, rate: float, decay: float, momentum: float) -> tuple[Optimizer, ...]:
    """Nesterov's momentum; the decay joins the gradient. Momentum 0 is `sgd`, which torch wants to be told as such."""
    return (SGD(model.parameters(), lr=rate, weight_decay=decay, momentum=momentum, nesterov=momentum > 0),)


def adam(model: nn.Module, rate: float, decay: float, momentum: float) -> tuple[Optimizer, ...]:
    """Adam (Kingma & Ba 2015) with its own betas; the decay joins the gradient."""
    return (Adam(model.parameters(), lr=rate, weight_decay=decay),)


def adamw(model: nn.Module, rate: float, decay: float, momentum: float) -> tuple[Optimizer, ...]:
    """AdamW (Loshchilov & Hutter 2019) with its own betas; decoupled decay."""
    return (AdamW(model.parameters(), lr=rate, weight_decay=decay),)


def muon(model: nn.Module, rate: float, decay: float, momentum: float) -> tuple[Optimizer, ...]:
    """Muon (Jordan et al. 2024) for the weights of linear layers but the head's, AdamW for everything else.

    Muon's updates are scaled to the size of AdamW's, so that one learning rate serves both.
    """
    head = head_of(model)
    last = set() if head is None else {id(p) for p in head.parameters()}
    hidden = {id(m.weight): m.weight for m in model.modules() if isinstance(m, nn.Linear) and id(m.weight) not in last}
    rest = [p for p in model.parameters() if id(p) not in hidden]
    made: list[Optimizer] = []
    if hidden:
        weights = list(hidden.values())
        made.append(
            torch.optim.Muon(weights, lr=rate, weight_decay=decay, momentum=momentum, adjust_lr_fn="match_rms_adamw")
        )
    if rest:
        made.append(AdamW(rest, lr=rate, weight_decay=decay))
    return tuple(made)


OPTIMISERS: dict[str, Build] = {
    "sgd": sgd,
    "momentum": heavy_ball,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    **({"muon": muon} if hasattr(torch.optim, "Muon") else {}),  # torch >= 2.9
}


def optimiser_named(name: str) -> Build:
    """The optimiser called `name` in `OPTIMISERS`.

    Raises:
        UsageError: no such optimiser.
    """
    if name not in OPTIMISERS:
        raise UsageError(f"unknown optimiser {name!r}: expected one of {', '.join(OPTIMISERS)}")
    return OPTIMISERS[name]
