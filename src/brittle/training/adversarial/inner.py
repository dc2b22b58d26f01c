"""The inner maximisation: where in the ball the loss of a batch is large.

Legend: b samples.
"""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor, nn

from brittle.attacks.gradient import direction, input_gradient
from brittle.attacks.losses import Loss
from brittle.attacks.room import Room, search_room
from brittle.errors import UsageError
from brittle.threats import Ball, in_box
from brittle.training.adversarial.members import normal_noise
from brittle.training.protocols import Generators

# The norms whose steepest step is one that training can take.
_NORMS = ("linf", "l2")


def check_threat(threat: Ball) -> None:
    """Refuse a ball that nets are not trained for here.

    Raises:
        UsageError: neither l_inf nor l_2, or a radius that is not a positive number.
    """
    if threat.norm not in _NORMS:
        raise UsageError(f"adversarial training expects a ball in {' or '.join(_NORMS)}, got {threat.norm!r}")
    if not 0 < threat.epsilon < float("inf"):
        raise UsageError(f"epsilon must be a positive number in pixel units, got {threat.epsilon!r}: try 8/255")


def check_step(step_size: float) -> None:
    """Refuse a step that is not a positive number.

    Raises:
        UsageError: with the number that came.
    """
    if not (isfinite(step_size) and step_size > 0):
        raise UsageError(f"step_size is a positive multiple of epsilon, got {step_size!r}: try 0.25")


def check_steps(steps: int) -> None:
    """Refuse a number of steps below one.

    Raises:
        UsageError: with the number that came.
    """
    if steps < 1:
        raise UsageError(f"adversarial training needs at least 1 step of attack, got {steps!r}")


def check_share(share: float) -> None:
    """Refuse a share of attacked samples that is no share.

    Raises:
        UsageError: with the number that came.
    """
    if not 0 < share <= 1:
        raise UsageError(f"the share of attacked samples lies in (0, 1], got {share!r}: 1 attacks all of them")


def room_around(threat: Ball, x: Tensor) -> Room:
    """The part of ball and pixel box to search for samples x (b, *shape): see `search_room`.

    Raises:
        UsageError: pixels that are neither float32 nor float64, or a radius below their resolution.
    """
    if x.dtype not in (torch.float32, torch.float64):
        raise UsageError(
            f"adversarial training expects float32 or float64 pixels, got {x.dtype}: keep the model in float32 and "
            "use mixed precision instead"
        )
    return search_room(threat, x)


def ball_start(x: Tensor, room: Room, generators: Generators) -> Tensor:
    """Random points of ball and box around x (b, *shape): see `Ball.sample`."""
    return in_box(x, room.ball.sample(normal_noise(x, generators)), room.box)


def climb(
    model: nn.Module, x: Tensor, goal: Tensor, start: Tensor, room: Room, loss: Loss, steps: int, step_size: float
) -> Tensor:
    """`x <- P(x + step_size * epsilon * steepest(gradient))`, `steps` times from `start`; the last point (b, *shape).

    Projected gradient ascent (Madry et al. 2018, section 2.1). Gradients are those of the pixels alone: parameters and
    their `.grad` are not touched.

    Args:
        model: frozen; pixels (b, *shape) -> logits (b, classes).
        x: centres of the balls.
        goal: what the loss is measured against, (b, ...).
        start: points of the room.
        room: where to search.
        loss: maps logits and goals to (b,).
        steps: gradients.
        step_size: as a multiple of the radius.

    Raises:
        ModelError: a model without gradients.
    """
    point = start
    for _ in range(steps):
        _, _, gradient = input_gradient(model, point, goal, loss)
        point = room.project(x, point + step_size * room.epsilon * room.steepest(direction(gradient)))
    return point
