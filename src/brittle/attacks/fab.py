"""FAB, the fast adaptive boundary attack: minimal perturbations in l_inf, l_2 and l_1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from brittle.attacks.fab_descent import descend, starting_points
from brittle.attacks.minimal_boundary import likeliest_wrong
from brittle.attacks.minimal_checks import check_call, check_classes
from brittle.attacks.minimal_finish import FINISH_COST, draw_closer
from brittle.attacks.minimal_nearest import Nearest, answer, still_right
from brittle.attacks.noise import sample_noise
from brittle.attacks.settings import check_counts
from brittle.models.frozen import frozen


@dataclass(frozen=True)
class FAB:
    """FAB (Croce & Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack").

    At every step the `classes` wrong classes of largest logit compete for the nearest linearised boundary: with all
    wrong classes this is the paper's untargeted form, with fewer it is cheaper. The first run starts at x, each of
    the others from a random point nearer than the best found; `draw_closer` ends each, so that restarts only help.

    Raises:
        UsageError: steps, restarts or classes below one.
    """

    steps: int = 100
    restarts: int = 1
    classes: int = 9

    def __post_init__(self) -> None:
        check_counts(self.steps, self.restarts)
        check_classes(self.classes)

    @property
    def name(self) -> str:
        """ "fab-<steps>", with "x<restarts>" where there are several."""
        return f"fab-{self.steps}" + (f"x{self.restarts}" if self.restarts > 1 else "")

    @property
    def cost(self) -> int:
        """`steps * classes` and three more, per run; less where there are fewer wrong classes."""
        return (self.steps * self.classes + FINISH_COST) * self.restarts

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
        """Nearest points and radii, as the `MinimalAttack` protocol says.

        Raises:
            DataError, UsageError: samples, limit or norm that cannot be used.
            ModelError: a model without gradients.
        """
        nearest = Nearest(x, y, check_call(x, y, indices, norm, limit))
        with frozen(model):
            rows = still_right(model, x, y)
            for restart in range(self.restarts if len(rows) else 0):
                start = x[rows]
                if restart > 0:
                    where = indices.to(rows.device)[rows]
                    noise = sample_noise(seed, where, x.shape[1:], f"fab/{restart}", dtype=x.dtype, device=x.device)
                    start = starting_points(nearest, rows, noise, limit)
                candidates = partial(likeliest_wrong, y=y[rows], count=self.classes)
                before = nearest.radius.clone()
                descend(model, start, rows, candidates, self.steps, nearest)
                draw_closer(model, nearest, (nearest.radius < before).nonzero()[:, 0])
            return answer(model, nearest, rows, limit)
