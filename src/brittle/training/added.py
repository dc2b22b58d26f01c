"""What a plan adds to the objective: penalties in the loss, proximal steps, and the held scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.errors import UsageError
from brittle.training.matrices import StructureMatrix, chosen_matrices
from brittle.training.plan import Plan
from brittle.training.protocols import Penalty, Term


class Added:
    """The additions of one run, at work on the chosen layers of `model`.

    Raises:
        UsageError: an unknown penalty, a proximal step that is not known, or layers that cannot be chosen.
    """

    matrices: tuple[StructureMatrix, ...]

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        asked = bool(plan.penalties) or plan.hold_scale or plan.layers is not None
        self.matrices = chosen_matrices(model, plan.layers) if asked else ()
        self.penalties: dict[str, Penalty] = {}
        self._terms: dict[str, tuple[Term, float]] = {}
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
                self._terms[weighted.name] = (penalty.start(), weighted.strength)
        self._held = [matrix.frobenius() for matrix in self.matrices] if plan.hold_scale else []

    def loss(self) -> Tensor | None:
        """`sum of strength * penalty` over the chosen layers, a scalar; None where there is nothing to add."""
        if not self._terms:
            return None
        weights = [matrix.tensor() for matrix in self.matrices]
        parts = [strength * term(weights) for term, strength in self._terms.values()]
        return torch.stack(parts).sum()

    @torch.no_grad()
    def settle(self, rate: float) -> None:
        """After the optimiser's step of learning rate `rate`: proximal steps `rate * strength`, then the norms back."""
        for penalty, strength in self._proximal:
            for matrix in self.matrices:
                matrix.write(penalty.prox(matrix.tensor(), rate * strength))  # type: ignore[attr-defined]
        for matrix, held in zip(self.matrices, self._held, strict=False):
            norm = matrix.frobenius()
            if norm > 0:  # a layer of zeros has no direction to grow in
                matrix.rescale(held / norm)

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """The penalties' values now, before their strengths."""
        weights = [matrix.tensor() for matrix in self.matrices]
        return {name: float(penalty.value(weights)) for name, penalty in self.penalties.items()}

    def state(self) -> dict[str, Tensor]:
        """The terms' states. The held norms are those of the weights that the run began with, so they are known."""
        return {f"{name}/{k}": v for name, (term, _) in self._terms.items() for k, v in term.state().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        for name, (term, _) in self._terms.items():
            start = f"{name}/"
            term.restore({key.removeprefix(start): value for key, value in state.items() if key.startswith(start)})


def _penalty(name: str) -> Penalty:
    # Imported here: a run without penalties does not need them.
    from brittle.training.penalties import penalty_named

    return penalty_named(name)
