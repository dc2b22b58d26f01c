"""What plans add to the objectives of an ensemble: penalties, proximal steps, held scales, for all members at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.training.added import Added
from brittle.training.ensemble.stack import Stack
from brittle.training.plan import Plan
from brittle.training.protocols import Penalty, Term


@dataclass(frozen=True, eq=False)
class StackedMatrix:
    """One layer's structure matrices; they live in the module's stacked parameters.

    Attributes:
        module: a layer of `Stack.net` that `matrices.StructureMatrix` knows.
    """

    module: nn.Module

    def tensor(self) -> Tensor:
        """W (M, h, d), with gradients to the parameters; of low-rank layers the products of their factors."""
        module = self.module
        if isinstance(module, LowRankLinear | LowRankConv2d):
            return module.second.weight.flatten(2) @ module.first.weight.flatten(2)
        assert isinstance(module, nn.Linear | nn.Conv2d)
        return module.weight.flatten(2)

    @torch.no_grad()
    def frobenius(self) -> Tensor:
        """||W||_F of each member, (M,), float64."""
        module = self.module
        if isinstance(module, LowRankLinear | LowRankConv2d):
            first, second = module.first.weight.double().flatten(2), module.second.weight.double().flatten(2)
            return torch.linalg.matrix_norm(second @ first)
        return torch.linalg.matrix_norm(self.tensor().double())

    @torch.no_grad()
    def rescale(self, factor: Tensor) -> None:
        """Multiply each member's W by its factor >= 0 of (M,); in a low-rank layer both factors by its root."""
        module = self.module
        if isinstance(module, LowRankLinear | LowRankConv2d):
            for part in (module.first, module.second):
                _scale(part.weight, factor.sqrt())
        else:
            assert isinstance(module, nn.Linear | nn.Conv2d)
            _scale(module.weight, factor)


class Additions:
    """The additions of all members at work on a stack; they differ in the penalties' strengths alone.

    Args:
        stack: the members.
        model: one of them, the one that `added` was made for.
        added: its additions: which penalties, which layers.
        plans: one for each member.
    """

    def __init__(self, stack: Stack, model: nn.Module, added: Added, plans: Sequence[Plan]) -> None:
        like = stack.flat
        places = {id(module): i for i, module in enumerate(model.modules())}
        modules = list(stack.net.modules())
        self._matrices = [StackedMatrix(modules[places[id(m.module)]]) for m in added.matrices]
        self._penalties: dict[str, Penalty] = added.penalties
        self._terms: list[tuple[Term, Tensor]] = []
        self._proximal: list[tuple[Penalty, list[float]]] = []
        for i, weighted in enumerate(plans[0].penalties):
            penalty, strengths = self._penalties[weighted.name], [plan.penalties[i].strength for plan in plans]
            if weighted.proximal:
                self._proximal.append((penalty, strengths))
            elif any(strengths):
                self._terms.append((penalty.start(), torch.tensor(strengths, dtype=torch.float64).to(like)))
        self._held = [matrix.frobenius() for matrix in self._matrices] if plans[0].hold_scale else []

    def loss(self) -> Tensor | None:
        """`sum of strength * penalty` of each member, (M,); None where there is nothing to add."""
        if not self._terms:
            return None
        weights = [matrix.tensor() for matrix in self._matrices]
        return torch.stack([strengths * term(weights) for term, strengths in self._terms]).sum(0)

    @torch.no_grad()
    def settle(self, rates: Sequence[float]) -> None:
        """After a step of learning rates (M,): proximal steps `rate * strength`, then the norms back."""
        for penalty, strengths in self._proximal:
            for matrix in self._matrices:
                # The protocol knows one matrix at a time; writing through the view moves the parameter.
                for weight, rate, strength in zip(matrix.tensor(), rates, strengths, strict=True):
                    weight.copy_(penalty.prox(weight, rate * strength))  # type: ignore[attr-defined]
        for matrix, held in zip(self._matrices, self._held, strict=False):
            norms = matrix.frobenius()
            matrix.rescale(torch.where(norms > 0, held / norms, torch.ones_like(norms)))

    @torch.no_grad()
    def values(self) -> list[dict[str, float]]:
        """Each member's penalties now, before their strengths."""
        weights = [matrix.tensor() for matrix in self._matrices]
        columns = {name: penalty.value(weights).tolist() for name, penalty in self._penalties.items()}
        members = range(len(weights[0]) if weights else 0)
        return [{name: float(column[m]) for name, column in columns.items()} for m in members]


def _scale(weight: Tensor, factor: Tensor) -> None:
    weight.mul_(factor.to(weight).view(-1, *([1] * (weight.dim() - 1))))
