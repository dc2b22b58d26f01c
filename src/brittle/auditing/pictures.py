"""Adversarial examples as small PNG pictures for the report."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image
from torch import Tensor

from brittle.results.robustness import Example
from brittle.threats import Ball


def examples(
    threat: Ball,
    x: Tensor,
    x_adv: Tensor,
    y: Tensor,
    before: Tensor,
    after: Tensor,
    classes: tuple[str, ...],
    count: int,
) -> tuple[Example, ...]:
    """Pictures of the first `count` samples that an attack flipped; none where inputs are not images.

    Args:
        threat: the ball of the attack.
        x, x_adv: (n, c, h, w) pixels with c = 1 or 3.
        y: (n,) labels.
        before, after: (n,) predicted classes without and with the perturbation.
        classes: names of the classes.
        count: how many.
    """
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        return ()
    flipped = ((before == y) & (after != y)).nonzero()[:, 0][:count]
    rows = []
    for i in flipped.tolist():
        delta = (x_adv[i] - x[i]).double()
        scaled = 0.5 + 0.5 * delta / delta.abs().max().clamp_min(1e-12)
        rows.append(
            Example(
                threat.norm,
                threat.epsilon,
                i,
                _name(classes, y[i]),
                _name(classes, before[i]),
                _name(classes, after[i]),
                *(_png(picture) for picture in (x[i], x_adv[i], scaled)),
            )
        )
    return tuple(rows)


def _name(classes: tuple[str, ...], label: Tensor) -> str:
    index = int(label)
    return classes[index] if index < len(classes) else str(index)


def _png(pixels: Tensor) -> str:
    values = (pixels.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    array = values[0].numpy() if len(values) == 1 else values.permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
