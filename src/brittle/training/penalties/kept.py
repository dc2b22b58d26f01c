"""A polar factor kept for some optimiser steps, and what it has missed made up for.

While a factor Q_j = Q(W_j) is kept for n_j steps, the weights move on, and so does the factor they would have by then.
What the pull missed is known at the next refresh: about half of `n_j (Q_{j+1} - Q_j)`, if the change was even. The next
window therefore pulls along

    Q_{j+1} + m (n_j / n_{j+1}) (Q_{j+1} - Q_j),

with m = 1/2 for that (the second-order method of Adams and Bashforth), and 1/4 more, which damps the swings of small
values about zero. Windows grow from one step to their full length by doubling: an optimiser's first steps are its
wildest. `benchmarks/penalties.py` measures what is left of the delay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from brittle.training.penalties.sums import check_matrices

# m above.
_MADE_UP = 0.75


class PolarTerm:
    """`sum over layers of finish(<Q, W>, W)`, Q as above; with `refresh` = 1 the polar factor of W itself.

    Args:
        factor: W (..., h, d) -> Q (..., h, d).
        refresh: steps of a full window.
        finish: differentiable, nuclear norms (...) and W (..., h, d) -> (...).
    """

    def __init__(
        self, factor: Callable[[Tensor], Tensor], refresh: int, finish: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self._factor = factor
        self._refresh = refresh
        self._finish = finish
        self._left = 0
        self._window = 0
        self._last: list[Tensor] = []
        self._pull: list[Tensor] = []

    def __call__(self, weights: Sequence[Tensor]) -> Tensor:
        """Scalar or (M,)."""
        check_matrices(weights)
        if self._left == 0:
            self._start_window(weights)
        self._left -= 1
        parts = []
        for i, weight in enumerate(weights):
            q = self._pull[i] = self._pull[i].to(weight)
            parts.append(self._finish(torch.linalg.vecdot(q.flatten(-2), weight.flatten(-2)), weight))
        if self._left == 0:
            self._pull = []
        return torch.stack(parts).sum(0)

    def state(self) -> dict[str, Tensor]:
        """The factors of the last refresh, what is pulled along, its steps in all and those that are left."""
        kept = {"left": torch.tensor(self._left), "window": torch.tensor(self._window)}
        kept.update({f"last {i}": q for i, q in enumerate(self._last)})
        return kept | {f"pull {i}": q for i, q in enumerate(self._pull)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._left, self._window = int(state["left"]), int(state["window"])
        self._last = _numbered("last", state)
        self._pull = _numbered("pull", state)

    @torch.no_grad()
    def _start_window(self, weights: Sequence[Tensor]) -> None:
        fresh = [self._factor(weight) for weight in weights]
        before, self._window = self._window, min(max(1, 2 * self._window), self._refresh)
        self._left = self._window
        if self._refresh == 1:
            self._pull = fresh
            return
        share = _MADE_UP * before / self._window
        last = self._last or fresh
        self._pull = [torch.lerp(old.to(new), new, 1 + share) for old, new in zip(last, fresh, strict=True)]
        self._last = fresh


def _numbered(name: str, state: dict[str, Tensor]) -> list[Tensor]:
    count = sum(key.startswith(f"{name} ") for key in state)
    return [state[f"{name} {i}"] for i in range(count)]
