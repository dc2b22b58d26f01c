"""First-order importance: what the loss would change by if a unit went.

Source: Molchanov, Mallya, Tyree, Frosio, Kautz, "Importance estimation for neural network pruning", CVPR 2019, the
first-order criterion of section 3.1 (its magnitude in place of its square).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.couplings.sides import unit_rows, weight_members, weight_of
from brittle.compression.protocols import Evidence
from brittle.evaluation.batches import check_logits
from brittle.models.frozen import frozen

# Samples whose gradients are averaged before the magnitude is taken: part of the score's definition, as in the paper,
# where it is a training batch. Over many samples the gradients of a trained network cancel.
TOGETHER = 16


def taylor(model: nn.Module, couplings: Sequence[Coupling], evidence: Evidence) -> Mapping[str, Tensor]:
    """`mean over groups of 16 samples of |sum of dL/dw * w|`, (u,) float64 by coupling; L is their mean cross-entropy.

    The sum is over all weights that read the unit: without them it is gone, so to first order this is the change of
    the loss. It is also the derivative of L by a factor on the unit.

    Raises:
        ModelError, DataError: logits that are not finite scores for the labels (see `check_logits`).
    """
    return first_order(model, couplings, evidence.x, evidence.y)


def first_order(model: nn.Module, couplings: Sequence[Coupling], x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The score of `taylor` for given inputs x (n, *shape), y (n,).

    Raises:
        ModelError, DataError: as `taylor`.
    """
    readers = {c.name: weight_members(model, c, "in") for c in couplings}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    weights: dict[str, Tensor] = {}
    for members in readers.values():
        for _, module in members:
            weight = weight_of(module)
            assert weight is not None
            weights[names[id(weight)]] = weight.detach().requires_grad_()
    scores = {c.name: torch.zeros(c.units, dtype=torch.float64, device=x.device) for c in couplings}
    if not weights:
        return scores
    with frozen(model):
        for rows in torch.arange(len(x), device=x.device).split(TOGETHER):
            with torch.enable_grad():
                logits = functional_call(model, weights, (x[rows],))
                loss = functional.cross_entropy(check_logits(logits, y[rows]), y[rows])
                gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
            products = {
                name: (gradient.double() * weight.detach().double())
                for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
            }
            for coupling, members in readers.items():
                parts = [unit_rows(products[names[id(weight_of(module))]], member).sum(1) for member, module in members]
                scores[coupling] += torch.stack(parts).sum(0).abs() * len(rows) / len(x)
    return scores
