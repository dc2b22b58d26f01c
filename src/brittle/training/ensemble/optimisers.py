"""Optimisers that move all members at once, each by its own learning rate, weight decay and momentum.

They act on flat weights (M, P) in place and give each member what torch's optimiser of that name would give it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Protocol

import torch
from torch import Tensor

# Numbers of a block that is taken through all of a step's operations before the next one: on a CPU the block, its
# gradient and the optimiser's memory of it then stay in the cache.
_BLOCK = 2**16
# Adam's own numbers, as torch has them.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class StackedOptimiser(Protocol):
    """Weights that move."""

    def step(self, gradient: Tensor, rate: Tensor) -> None:
        """One step down the gradient (M, P), which it may overwrite, with learning rates (M,)."""


class Descent:
    """`v <- momentum v + g + decay w; w <- w - rate v`; with `nesterov` the step is along `g + decay w + momentum v`.

    Sutskever et al. 2013, in the form that `torch.optim.SGD` has.

    Args:
        weights: (M, P), changed in place by each step.
        decay: (M,).
        momentum: (M,).
        nesterov: look ahead.
    """

    def __init__(self, weights: Tensor, decay: Tensor, momentum: Tensor, *, nesterov: bool) -> None:
        self._weights, self._velocity = weights, torch.zeros_like(weights)
        self._decay, self._momentum = _column(decay, weights), _column(momentum, weights)
        self._nesterov = nesterov

    def step(self, gradient: Tensor, rate: Tensor) -> None:
        """One step."""
        rates = _column(rate, self._weights)
        for rows in _blocks(self._weights):
            w, v, g = self._weights[rows], self._velocity[rows], gradient[rows]
            g.addcmul_(w, self._decay[rows])
            v.mul_(self._momentum[rows]).add_(g)
            along = g.addcmul_(v, self._momentum[rows]) if self._nesterov else v
            w.addcmul_(along, rates[rows], value=-1)


class Adaptive:
    """Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019), with torch's betas and epsilon.

    `m <- lerp(m, g, 1 - b1), v <- b2 v + (1 - b2) g^2, w <- w - rate m_hat / (sqrt(v_hat) + eps)`. The decay joins the
    gradient, or, if `decoupled`, shrinks w by `1 - rate decay` first.

    Args:
        weights: (M, P), changed in place by each step.
        decay: (M,).
        momentum: not used, the betas are Adam's own.
        decoupled: as in AdamW.
    """

    def __init__(self, weights: Tensor, decay: Tensor, momentum: Tensor, *, decoupled: bool) -> None:
        self._weights, self._decay = weights, _column(decay, weights)
        self._mean, self._square = torch.zeros_like(weights), torch.zeros_like(weights)
        self._decoupled, self._steps = decoupled, 0

    def step(self, gradient: Tensor, rate: Tensor) -> None:
        """One step."""
        self._steps += 1
        first, second = 1 - _BETA1**self._steps, sqrt(1 - _BETA2**self._steps)
        rates = _column(rate, self._weights)
        for rows in _blocks(self._weights):
            w, m, v, g = self._weights[rows], self._mean[rows], self._square[rows], gradient[rows]
            if self._decoupled:
                w.mul_(1 - rates[rows] * self._decay[rows])
            else:
                g.addcmul_(w, self._decay[rows])
            m.lerp_(g, 1 - _BETA1)
            v.mul_(_BETA2).addcmul_(g, g, value=1 - _BETA2)
            size = torch.sqrt(v, out=g).div_(second).add_(_EPSILON)
            w.addcmul_(m / size, rates[rows] / first, value=-1)


def _plain(weights: Tensor, decay: Tensor, momentum: Tensor) -> StackedOptimiser:
    return Descent(weights, decay, torch.zeros_like(momentum), nesterov=False)


# (weights (M, P), decay (M,), momentum (M,)) -> optimiser, by the names of `training.optimisers.OPTIMISERS`.
STACKED: dict[str, Callable[[Tensor, Tensor, Tensor], StackedOptimiser]] = {
    "sgd": _plain,
    "momentum": partial(Descent, nesterov=False),
    "nesterov": partial(Descent, nesterov=True),
    "adam": partial(Adaptive, decoupled=False),
    "adamw": partial(Adaptive, decoupled=True),
}


def clip(gradient: Tensor, largest: Tensor) -> None:
    """Scale each member's gradient (M, P) down in place to a norm of at most `largest` (M,), as torch does."""
    norms = torch.linalg.vector_norm(gradient, dim=1)
    gradient.mul_((largest / (norms + 1e-6)).clamp(max=1.0).to(gradient).unsqueeze(1))


def _column(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.to(like).unsqueeze(1)


def _blocks(weights: Tensor) -> list[slice]:
    """The members in blocks of rows; all at once on a GPU, where each operation costs a launch."""
    members, numbers = weights.shape
    rows = members if weights.device.type != "cpu" else max(1, _BLOCK // max(1, numbers))
    return [slice(i, i + rows) for i in range(0, members, rows)]
