"""Random starting points."""

from __future__ import annotations

from torch import Tensor

from brittle.attacks.noise import sample_noise
from brittle.attacks.room import Room
from brittle.threats import in_box


def random_start(x: Tensor, room: Room, indices: Tensor, seed: int, stream: str) -> Tensor:
    """Points of ball and box around x, (b, *shape), that depend on each sample's own index, the seed and the stream."""
    noise = sample_noise(seed, indices, x.shape[1:], stream, dtype=x.dtype, device=x.device)
    return in_box(x, room.ball.sample(noise), room.box)
