"""The role of an attack that looks for the smallest perturbation instead of filling a given ball."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class MinimalAttack(Protocol):
    """A search for the misclassified point nearest to each input.

    Like an `Attack` it is a frozen value: the same call gives the same answer, the model comes back as it was and sees
    at most `len(x)` inputs at a time, and what it does to one sample does not depend on the others in the batch. What
    it finds bounds the robust radius of a sample from above.
    """

    @property
    def name(self) -> str:
        """The name reports show, with the number of steps: "fab-100"."""

    @property
    def cost(self) -> int:
        """Gradient evaluations per sample, at most; forward passes come on top."""

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
        """The nearest misclassified points found for a batch.

        Args:
            model: maps pixels (b, *shape) in [0, 1] to logits (b, classes).
            x: pixels (b, *shape), float32 or float64.
            y: labels (b,), int64.
            norm: "linf", "l2" or "l1": what distance means.
            indices: positions of the samples in their data set, (b,) int64: random numbers belong to these.
            seed: all randomness comes from it.
            limit: radii already reached by other attacks, (b,) float64, infinite where there are none. Only smaller
                ones are reported.

        Returns:
            x_adv (b, *shape) in the pixel box, and its distance from x (b,) float64, pixel units, measured on the
            stored point. Radius 0 and x itself where x is misclassified; radius infinity and x itself where nothing
            was found below the limit; else the model, asked again, misclassifies x_adv.
        """
