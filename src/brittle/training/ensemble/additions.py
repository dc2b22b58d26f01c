"""What plans add to the objectives of an ensemble: penalties, proximal steps, held scales, for all members at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.training.added import Added, seen_by
from brittle.training.cores import LowRank, core_of, pair_of, product_of
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
        if isinstance(module, LowRank):
            return product_of(module)
        assert isinstance(module, nn.Linear | nn.Conv2d)
        return module.weight.flatten(2)

    def core(self) -> Tensor:
        """Matrices with W's singular values that need not be zero: of low-rank layers (M, r, r), else W itself."""
        return core_of(self.module) if isinstance(self.module, LowRank) else self.tensor()

    @torch.no_grad()
    def frobenius(self) -> Tensor:
        """||W||_F of each member, (M,), float64."""
        module = self.module
        if isinstance(module, LowRank):
            left, right = pair_of(module)
            return torch.linalg.matrix_norm(left.double() @ right.double())
        return torch.linalg.matrix_norm(self.tensor().double())

    @torch.no_grad()
    def rescale(self, factor: Tensor) -> None:
        """Multiply each member's W by its factor >= 0 of (M,); in a low-rank layer both factors by its root."""
        module = self.module
        if isinstance(module, LowRank):
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
        self._size = stack.size
        places = {id(module): i for i, module in enumerate(model.modules())}
        modules = list(stack.net.modules())
        self._matrices = [StackedMatrix(modules[places[id(m.module)]]) for m in added.matrices]
        self._penalties: dict[str, Penalty] = added.penalties
        self._terms: list[tuple[Penalty, Term, Tensor]] = []
        self._proximal: list[tuple[Penalty, list[float]]] = []
        for i, weighted in enumerate(plans[0].penalties):
            penalty, strengths = self._penalties[weighted.name], [plan.penalties[i].strength for plan in plans]
            if weighted.proximal:
                self._proximal.append((penalty, strengths))
            elif any(strengths):
                self._terms.append((penalty, penalty.start(), torch.tensor(strengths, dtype=torch.float64).to(like)))
        self._held = [matrix.frobenius() for matrix in self._matrices] if plans[0].hold_scale else []

    def loss(self) -> Tensor | None:
        """`sum of strength * penalty` of each member, (M,); None where there is nothing to add."""
        if not self._terms:
            return None
        weights = seen_by([penalty for penalty, _, _ in self._terms], self._matrices)
        parts = [strengths * term(seen) for seen, (_, term, strengths) in zip(weights, self._terms, strict=True)]
        return torch.stack(parts).sum(0)

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
        weights = seen_by(list(self._penalties.values()), self._matrices)
        columns = {
            name: penalty.value(seen).tolist()
            for seen, (name, penalty) in zip(weights, self._penalties.items(), strict=True)
        }
        members = range(self._size if self._matrices else 0)
        return [{name: float(column[m]) for name, column in columns.items()} for m in members]


def _scale(weight: Tensor, factor: Tensor) -> None:
    weight.mul_(factor.to(weight).view(-1, *([1] * (weight.dim() - 1))))
