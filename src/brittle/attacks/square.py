"""Square: a random search that only asks for logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from brittle.attacks.gradient import evaluate
from brittle.attacks.keep import FirstBreak
from brittle.attacks.losses import margin
from brittle.attacks.noise import sample_noise
from brittle.attacks.room import Room, check_samples, search_room
from brittle.attacks.square_l2 import L2Painter
from brittle.attacks.square_linf import LinfPainter
from brittle.attacks.square_shapes import as_image, share_at
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball

# Queries whose random numbers are drawn in one go: drawing one by one would cost more than small models do.
_BLOCK = 128


class Painter(Protocol):
    """How perturbations (r, c, h, w) of one norm begin and change."""

    @property
    def first_numbers(self) -> int:
        """Uniform numbers that `first` takes for each row."""

    @property
    def numbers(self) -> int:
        """Uniform numbers that `change` takes for each row."""

    def first(self, uniform: Tensor) -> Tensor:
        """First perturbations, (r, first_numbers) -> (r, c, h, w)."""

    def change(self, delta: Tensor, uniform: Tensor, share: float) -> Tensor:
        """Candidates that differ from `delta` (r, c, h, w) in windows over `share` of the pixels."""


PAINTERS: dict[str, Callable[[tuple[int, int, int], float], Painter]] = {"linf": LinfPainter, "l2": L2Painter}


@dataclass(frozen=True)
class Square:
    """Square (Andriushchenko et al. 2020, Algorithm 1): random windows, kept where they raise the margin loss.

    It never asks for a gradient, so masked gradients do not fool it; it is weaker than gradient attacks where those
    work. l_inf and l_2. Images are painted with squares; a vector (d,) is painted as one row with strips, which is as
    good as the order of its entries means something.

    `share` is the share of pixels painted at first, halved on the paper's schedule.

    Raises:
        UsageError: queries below one, or a share outside (0, 1].
    """

    queries: int = 5000
    share: float = 0.8

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise UsageError(f"Square needs queries >= 1, got {self.queries}: 1000 to 5000 are usual")
        if not 0 < self.share <= 1:
            raise UsageError(f"Square's share of painted pixels is in (0, 1], got {self.share!r}: 0.8 is usual")

    @property
    def name(self) -> str:
        """ "square-<queries>"."""
        return f"square-{self.queries}"

    @property
    def cost(self) -> int:
        """`queries`: forward passes, about a third of a gradient's work each; there are no gradients."""
        return self.queries

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, *shape), as the `Attack` protocol says.

        Raises:
            DataError: samples that are not pixels with labels (see `check_samples`).
            UsageError: a norm or shape that Square has no windows for, pixels in another format than float32 or
                float64, or a radius below their resolution.
        """
        check_samples(x, y, indices)
        if threat.norm not in PAINTERS:
            raise UsageError(f"Square paints in {' and '.join(PAINTERS)}, got {threat.norm}: use APGD or FAB there")
        image, room = as_image(tuple(x.shape[1:])), search_room(threat, x)
        painter = PAINTERS[threat.norm](image, room.epsilon)
        keeper = FirstBreak(x)
        with frozen(model):
            logits, values = evaluate(model, x, y, margin)
            # x is shown only where it is wrong: elsewhere the search starts at a painted point, even at a safer one.
            wrong = (logits.argmax(1) != y).nonzero()[:, 0]
            keeper.see(wrong, y[wrong], x[wrong], logits[wrong], values[wrong])
            self._search(model, x, y, room, painter, image, keeper, indices.to(x.device), seed)
        return keeper.x

    def _search(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        room: Room,
        painter: Painter,
        image: tuple[int, int, int],
        keeper: FirstBreak,
        indices: Tensor,
        seed: int,
    ) -> None:
        rows = keeper.open()
        if len(rows) == 0:
            return
        start = _uniform(x, indices[rows], seed, f"{self.name}/first", (painter.first_numbers,))
        self._try(model, x, y, rows, painter.first(start), room, keeper)
        for query in range(1, self.queries):
            if (query - 1) % _BLOCK == 0:
                drawn_for = keeper.open()
                stream = f"{self.name}/{(query - 1) // _BLOCK}"
                uniform = _uniform(x, indices[drawn_for], seed, stream, (_BLOCK, painter.numbers))
            standing = keeper.wants(drawn_for)
            rows = drawn_for[standing]
            if len(rows) == 0:
                return
            delta = (keeper.x[rows] - x[rows]).view(-1, *image)
            numbers = uniform[standing, (query - 1) % _BLOCK]
            changed = painter.change(delta, numbers, share_at(query, self.queries, self.share))
            self._try(model, x, y, rows, changed, room, keeper)

    def _try(
        self, model: nn.Module, x: Tensor, y: Tensor, rows: Tensor, delta: Tensor, room: Room, keeper: FirstBreak
    ) -> None:
        centre, label = x[rows], y[rows]
        points = room.project(centre, centre + delta.reshape(centre.shape))
        keeper.see(rows, label, points, *evaluate(model, points, label, margin))


def _uniform(x: Tensor, indices: Tensor, seed: int, stream: str, shape: tuple[int, ...]) -> Tensor:
    """Uniform numbers in [0, 1] that belong to the samples, (r, *shape)."""
    return torch.special.ndtr(sample_noise(seed, indices, shape, stream, dtype=x.dtype, device=x.device))
