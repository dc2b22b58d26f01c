"""What a plan adds to the objective: penalties in the loss, proximal steps, what is held, and the held scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from brittle.errors import UsageError
from brittle.training.matrices import StructureMatrix, chosen_matrices
from brittle.training.plan import Plan
from brittle.training.protocols import Penalty, Term


class Added:
    """The additions of one run, at work on the chosen layers of `model`.

    Raises:
        UsageError: an unknown penalty, a proximal step that is not known, layers that cannot be chosen, or nothing to
            hold.
    """

    matrices: tuple[StructureMatrix, ...]

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        asked = bool(plan.penalties) or plan.hold_scale or plan.layers is not None
        self.matrices = chosen_matrices(model, plan.layers) if asked else ()
        self.penalties: dict[str, Penalty] = {}
        self._terms: dict[str, tuple[Penalty, Term, float]] = {}
        self._proximal: list[tuple[Penalty, float]] = []
        for weighted in plan.penalties:
            penalty = self.penalties[weighted.name] = _penalty(weighted.name)
            if weighted.proximal:
                if not hasattr(penalty, "prox"):
                    raise UsageError(
                        f"penalty {weighted.name} has no proximal step: add it to the loss (proximal=False)"
                    )
                self._proximal.append((penalty, weighted.strength))
            elif weighted.strength > 0:
                self._terms[weighted.name] = (penalty, penalty.start(), weighted.strength)
        self._holds = [hold.start(model) for hold in plan.holds]
        self._held = [matrix.frobenius() for matrix in self.matrices] if plan.hold_scale else []

    def loss(self) -> Tensor | None:
        """`sum of strength * penalty` over the chosen layers, a scalar; None where there is nothing to add."""
        if not self._terms:
            return None
        weights = seen_by([penalty for penalty, _, _ in self._terms.values()], self.matrices)
        parts = [strength * term(seen) for seen, (_, term, strength) in zip(weights, self._terms.values(), strict=True)]
        return torch.stack(parts).sum()

    @torch.no_grad()
    def settle(self, rate: float, step: int) -> None:
        """After the optimiser's step number `step` of learning rate `rate`: proximal steps `rate * strength`, holds,
        then the norms back.
        """
        for penalty, strength in self._proximal:
            for matrix in self.matrices:
                matrix.write(penalty.prox(matrix.tensor(), rate * strength))  # type: ignore[attr-defined]
        self._hold(step)

    @torch.no_grad()
    def settle_epoch(self) -> None:
        """At the end of an epoch, before its model is scored: what is not held after every step is held now."""
        if self._holds:
            self._hold(None)

    def _hold(self, step: int | None) -> None:
        for held in self._holds:
            held(step)
        for matrix, norm in zip(self.matrices, self._held, strict=False):
            now = matrix.frobenius()
            if now > 0:  # a layer of zeros has no direction to grow in
                matrix.rescale(norm / now)

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """The penalties' values now, before their strengths."""
        weights = seen_by(list(self.penalties.values()), self.matrices)
        return {
            name: float(penalty.value(seen))
            for seen, (name, penalty) in zip(weights, self.penalties.items(), strict=True)
        }

    def state(self) -> dict[str, Tensor]:
        """The terms' states. The held norms are those of the weights that the run began with, so they are known."""
        return {f"{name}/{k}": v for name, (_, term, _) in self._terms.items() for k, v in term.state().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        for name, (_, term, _) in self._terms.items():
            start = f"{name}/"
            term.restore({key.removeprefix(start): value for key, value in state.items() if key.startswith(start)})


class _Layer(Protocol):
    """A `StructureMatrix`, or those of an ensemble."""

    def tensor(self) -> Tensor:
        """W (h, d) or (M, h, d)."""

    def core(self) -> Tensor:
        """What has W's singular values that need not be zero."""


def seen_by(penalties: Sequence[Penalty], matrices: Sequence[_Layer]) -> list[list[Tensor]]:
    """What each penalty is given of the layers: the structure matrices, or their cores where it is `of_core`."""
    of_core = [bool(getattr(penalty, "of_core", False)) for penalty in penalties]
    whole = [] if all(of_core) else [matrix.tensor() for matrix in matrices]
    cores = [matrix.core() for matrix in matrices] if any(of_core) else []
    return [cores if wanted else whole for wanted in of_core]


def _penalty(name: str) -> Penalty:
    # Imported here: a run without penalties does not need them.
    from brittle.training.penalties import penalty_named

    return penalty_named(name)
