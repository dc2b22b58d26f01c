"""DeepFool: cross the nearest linearised boundary, again and again, until the class changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from brittle.attacks.minimal_boundary import likeliest_wrong, nearest_boundary
from brittle.attacks.minimal_checks import check_call, check_classes
from brittle.attacks.minimal_finish import FINISH_COST, draw_closer
from brittle.attacks.minimal_nearest import Nearest, answer, still_right
from brittle.attacks.minimal_norms import step_to_plane
from brittle.attacks.settings import check_counts
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import PIXELS


@dataclass(frozen=True)
class DeepFool:
    """DeepFool (Moosavi-Dezfooli et al. 2016, Algorithm 2; section 3.3 for other norms), l_inf, l_2 and l_1.

    Each step goes the shortest way to the nearest linearised boundary and `overshoot` of it further. Two additions:
    the way stays in the pixel box (inside it the step is the paper's), and `draw_closer` takes the overshoot back.
    Cheap, a few steps per sample, and on curved boundaries clearly above the smallest radius.

    `classes` is the number of wrong classes, by logit, whose boundaries are looked at (the paper takes 10).

    Raises:
        UsageError: steps or classes below one, or an overshoot that is not a number >= 0.
    """

    steps: int = 50
    overshoot: float = 0.02
    classes: int = 9

    def __post_init__(self) -> None:
        check_counts(self.steps, 1)
        check_classes(self.classes)
        if not 0 <= self.overshoot < float("inf"):
            raise UsageError(f"DeepFool's overshoot is a share of the step, >= 0, got {self.overshoot!r}: try 0.02")

    @property
    def name(self) -> str:
        """ "deepfool-<steps>"."""
        return f"deepfool-{self.steps}"

    @property
    def cost(self) -> int:
        """`steps * classes` and three more at the end; most samples need less than ten steps."""
        return self.steps * self.classes + FINISH_COST

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
        measure = check_call(x, y, indices, norm, limit)
        nearest = Nearest(x, y, measure)
        with frozen(model):
            right = rows = still_right(model, x, y)
            point = x[rows]
            for _ in range(self.steps):
                if len(rows) == 0:
                    break
                nearby = partial(likeliest_wrong, y=y[rows], count=self.classes)
                here = nearest_boundary(model, point, y[rows], nearby, measure)
                left = ~nearest.see(rows, point, here.logits)
                rows, flat = rows[left], point[left].double().flatten(1)
                step = step_to_plane(measure, flat, here.normal[left], here.gap[left])
                flat = (flat + (1 + self.overshoot) * step).clamp(PIXELS.low, PIXELS.high)
                point = flat.to(x.dtype).view(-1, *x.shape[1:])
            if len(rows):
                with torch.no_grad():
                    nearest.see(rows, point, model(point))
            draw_closer(model, nearest, nearest.found())
            return answer(model, nearest, right, limit)
