"""Auto-PGD confined to the span of given directions, and Auto-PGD without the pixel box.

Legend: b batch, m directions, V (m, *shape) orthonormal rows, P = V^T V the projection on their span.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import STRIDES
from brittle.attacks.ascent import Momentum, Stride, ascend
from brittle.attacks.keep import FirstBreak, Keeper
from brittle.attacks.losses import LOSSES
from brittle.attacks.noise import sample_noise
from brittle.attacks.room import Region, Room, check_samples, search_ball
from brittle.attacks.settings import attack_name, check_counts, check_loss
from brittle.attacks.start import random_start
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import EVERYWHERE, PIXELS, Ball, Box, L2Ball, in_box
from brittle.threats.shape import per_sample

# Largest entry of V V^T - I that counts as rounding.
_ORTHONORMAL = 1e-4


def check_basis(basis: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse directions that are not orthonormal rows (m, *shape), m >= 1.

    Raises:
        UsageError: another shape, no directions, or rows that are not orthonormal to 1e-4.
    """
    if basis.dim() < 2 or len(basis) == 0 or basis.shape[1:] != torch.Size(shape):
        raise UsageError(f"expected directions of shape (m, {', '.join(map(str, shape))}), got {tuple(basis.shape)}")
    flat = basis.detach().flatten(1).double()
    apart = float((flat @ flat.T - torch.eye(len(flat), dtype=flat.dtype, device=flat.device)).abs().max())
    if not apart <= _ORTHONORMAL:  # NaN too
        raise UsageError(
            f"expected orthonormal directions, got products up to {apart:.2g} away from the identity: "
            "orthonormalise them, for example by torch.linalg.qr"
        )


@dataclass(frozen=True, eq=False)
class SpanRoom:
    """The part of a ball that lies in the span of `basis` (m, *shape), orthonormal, then clamped to the box.

    With `box=EVERYWHERE` perturbations stay in the span up to rounding. A pixel box clamps after the projection, so
    perturbations at its walls leave the span a little (they stay in the ball), and a clamped point moves when it is
    projected again.
    """

    ball: Ball
    basis: Tensor
    box: Box = PIXELS

    @property
    def epsilon(self) -> float:
        """The ball's radius."""
        return self.ball.epsilon

    def project(self, x: Tensor, towards: Tensor) -> Tensor:
        """Project `towards - x` on the span, scale it into the ball, clamp to the box.

        For l_2 that is the nearest point of ball and span. For other norms scaling keeps the span, but another point
        may be nearer.
        """
        delta = self._inside(towards - x)
        shrink = (self.epsilon / _positive(self.ball.length(delta))).clamp(max=1.0)
        return in_box(x, delta * per_sample(shrink, delta), self.box)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Unit steps in the span; for l_2 the normalised projected gradient, the steepest there is.

        For other norms the steepest step solves a linear program; the better of two steps stands in: P g, and P s
        with s the ball's steepest step for P g, each scaled to length 1. Both ascend: `g^T P s` is the dual norm
        of P g. With one direction, or with all of them, the better one is the steepest.
        """
        inside = self._inside(gradient)
        best, best_gain = self._unit(inside), self._gain(inside, inside)
        other = self._inside(self.ball.steepest(inside))
        better = self._gain(inside, other) > best_gain
        return torch.where(per_sample(better, inside), self._unit(other), best)

    def start(self, x: Tensor, indices: Tensor, seed: int, stream: str) -> Tensor:
        """Random points around x (b, *shape): a random direction of the span, l_2 radius law of its ball of dim m."""
        noise = sample_noise(seed, indices, (len(self.basis),), stream, dtype=x.dtype, device=x.device)
        weights = L2Ball(1.0).sample(noise)
        delta = (weights @ self._rows(x)).view_as(x)
        reach = self.epsilon * weights.norm(dim=1) / _positive(self.ball.length(delta))
        return in_box(x, delta * per_sample(reach, delta), self.box)

    def _rows(self, like: Tensor) -> Tensor:
        return self.basis.detach().flatten(1).to(like)

    def _inside(self, delta: Tensor) -> Tensor:
        rows = self._rows(delta)
        return (delta.flatten(1) @ rows.T @ rows).view_as(delta)

    def _unit(self, step: Tensor) -> Tensor:
        return step / per_sample(_positive(self.ball.length(step)), step)

    def _gain(self, gradient: Tensor, step: Tensor) -> Tensor:
        return (gradient * self._unit(step)).flatten(1).sum(1)


@dataclass(frozen=True, eq=False)
class ConfinedAPGD:
    """`APGD` whose perturbations lie in the span of `basis` (m, *shape), from random starts within it.

    With a box other than the pixels' the answers leave [0, 1], so `attack_survivors` does not take them:
    `brittle.sensitivity.explained` does.

    Raises:
        UsageError: steps or restarts below one, a loss that is not in `LOSSES`; when called, directions that are not
            orthonormal or of another shape than the samples.
    """

    basis: Tensor
    steps: int = 50
    loss: str = "ce"
    restarts: int = 1
    box: Box = PIXELS

    def __post_init__(self) -> None:
        check_counts(self.steps, self.restarts)
        check_loss(self.loss)

    @property
    def name(self) -> str:
        """ "confined-<m>-<loss>-<steps>", with "x<restarts>" where there are several."""
        return attack_name(f"confined-{len(self.basis)}", self.loss, self.steps, self.restarts)

    @property
    def cost(self) -> int:
        """`steps * restarts`."""
        return self.steps * self.restarts

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, *shape) in ball and box; raises what `PGD` raises."""
        check_samples(x, y, indices)
        check_basis(self.basis, tuple(x.shape[1:]))
        room = SpanRoom(search_ball(threat, x, self.box), self.basis, self.box)

        def start(rows: Tensor, restart: int) -> Tensor:
            stream = f"confined-{len(self.basis)}-{self.loss}-{self.steps}/{restart}"
            return room.start(x[rows], indices.to(rows.device)[rows], seed, stream)

        return _search(model, x, y, room, start, Momentum, self, FirstBreak(x))


@dataclass(frozen=True)
class UnboxedAPGD:
    """`APGD` without the pixel box: the full attack that confined attacks with `box=EVERYWHERE` are compared with.

    The same starts as `APGD` with these settings, not clamped. Answers leave [0, 1].

    Raises:
        UsageError: steps or restarts below one, or a loss that is not in `LOSSES`.
    """

    steps: int = 50
    loss: str = "ce"
    restarts: int = 1

    def __post_init__(self) -> None:
        check_counts(self.steps, self.restarts)
        check_loss(self.loss)

    @property
    def name(self) -> str:
        """ "unboxed-<loss>-<steps>", with "x<restarts>" where there are several."""
        return attack_name("unboxed", self.loss, self.steps, self.restarts)

    @property
    def cost(self) -> int:
        """`steps * restarts`."""
        return self.steps * self.restarts

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, *shape) in the ball; raises what `PGD` raises."""
        return self.search(model, x, y, threat, FirstBreak, indices=indices, seed=seed)

    def search(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Ball,
        remember: Callable[[Tensor], Keeper],
        *,
        indices: Tensor,
        seed: int,
    ) -> Tensor:
        """What a keeper made by `remember(x)` has kept after all restarts, (b, *shape); raises what `PGD` raises."""
        check_samples(x, y, indices)
        room = Room(search_ball(threat, x, EVERYWHERE), EVERYWHERE)

        def start(rows: Tensor, restart: int) -> Tensor:
            stream = f"apgd-{self.loss}-{self.steps}/{restart}"
            return random_start(x[rows], room, indices.to(rows.device)[rows], seed, stream)

        return _search(model, x, y, room, start, STRIDES[threat.norm], self, remember(x))


def _search(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    region: Region,
    start: Callable[[Tensor, int], Tensor],
    stride: type[Stride],
    attack: ConfinedAPGD | UnboxedAPGD,
    keeper: Keeper,
) -> Tensor:
    """`start` maps rows of the batch and the number of the restart to first points."""
    loss = LOSSES[attack.loss]
    with frozen(model):
        for restart in range(attack.restarts):
            rows = keeper.open()
            if len(rows) == 0:
                break
            label, first = y[rows], start(rows, restart)
            ascend(model, x[rows], label, label, first, rows, region, loss, attack.steps, keeper, stride)
    return keeper.x


def _positive(length: Tensor) -> Tensor:
    return length.clamp_min(torch.finfo(length.dtype).tiny)
