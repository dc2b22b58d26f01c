"""FAB towards one wrong class at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.fab_descent import descend
from brittle.attacks.minimal_boundary import likeliest_wrong
from brittle.attacks.minimal_checks import check_call, check_classes
from brittle.attacks.minimal_finish import FINISH_COST, draw_closer
from brittle.attacks.minimal_nearest import Nearest, answer, still_right
from brittle.attacks.settings import check_counts
from brittle.models.frozen import frozen


@dataclass(frozen=True)
class TargetedFAB:
    """Targeted FAB (Croce & Hein 2020b, section 5, the form AutoAttack runs): all steps of a run go to the boundary
    between the label and one wrong class, in turn for the `targets` classes of largest logit at x. As many gradients
    as `FAB` with as many classes; each run sees one boundary only, and ends nearer to it where classes are many.

    Raises:
        UsageError: steps or targets below one.
    """

    steps: int = 100
    targets: int = 9

    def __post_init__(self) -> None:
        check_counts(self.steps, 1)
        check_classes(self.targets)

    @property
    def name(self) -> str:
        """ "fab-targeted-<steps>x<targets>"."""
        return f"fab-targeted-{self.steps}x{self.targets}"

    @property
    def cost(self) -> int:
        """`steps * targets` and three more at the end, less where there are fewer wrong classes."""
        return self.steps * self.targets + FINISH_COST

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        norm: str,
        *,
        indices: Tensor,
        seed: int,
        limit: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Nearest points and radii as the `MinimalAttack` protocol says, whatever `indices` and `seed`.

        Raises:
            DataError, UsageError: samples, limit or norm that cannot be used.
            ModelError: a model without gradients.
        """
        nearest = Nearest(x, y, check_call(x, y, indices, norm, limit))
        with frozen(model):
            rows = still_right(model, x, y)
            if len(rows):
                with torch.no_grad():
                    targets = likeliest_wrong(model(x[rows]), y[rows], self.targets)
                for target in targets.split(1, dim=1):
                    descend(model, x[rows], rows, _Only(target), self.steps, nearest)
            draw_closer(model, nearest, nearest.found())
            return answer(model, nearest, rows, limit)


@dataclass(frozen=True)
class _Only:
    """The same candidates (r, 1) whatever the logits."""

    target: Tensor

    def __call__(self, logits: Tensor) -> Tensor:
        return self.target
