"""AutoAttack, the suite others report, behind our interface: the authors' code in the optional package pyautoattack."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from brittle.attacks.room import check_samples, search_room
from brittle.errors import ModelError, UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball

_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
# What its parts need: the targeted loss a fourth logit, Square's first stripes five pixels each way.
_CLASSES = 4
_SIDE = 5
# Its logger at the time of writing; whatever it warns of is checked, in our words, by the preflight.
_LOGGER = "auto-attack"


@dataclass(frozen=True)
class AutoAttack:
    """AutoAttack, version standard (Croce & Hein 2020b): APGD-CE, targeted APGD, targeted FAB, Square.

    With fewer than ten classes its targeted parts take all wrong classes. It is run at the radius whose points survive
    rounding, and its answers are projected. Its random numbers belong to batches: the same seed and batches give the
    same answer, but unlike with the library's own attacks a sample's answer depends on the others in its batch.
    """

    @property
    def name(self) -> str:
        """ "autoattack"."""
        return "autoattack"

    @property
    def cost(self) -> int:
        """6900: 1900 gradients and 5000 forward passes."""
        return 6900

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, c, h, w) as the `Attack` protocol says, x itself where it found nothing.

        Raises:
            DataError: samples that are not pixels with labels (see `check_samples`).
            UsageError: the package is missing, a norm or shape it cannot take, pixels in another format than float32
                or float64, or a radius below their resolution.
            ModelError: a model of fewer than four classes.
        """
        check_samples(x, y, indices)
        if threat.norm not in _NORMS:
            raise UsageError(f"AutoAttack knows the norms {', '.join(_NORMS)}, got {threat.norm!r}: use another attack")
        if x.dim() != 4 or min(x.shape[2:]) < _SIDE:
            raise UsageError(
                f"AutoAttack takes images (c, h, w) of {_SIDE} x {_SIDE} pixels or more, got samples of shape "
                f"{tuple(x.shape[1:])}: use Square and APGD, or reshape inside the model"
            )
        room = search_room(threat, x)
        suite = _suite()
        with frozen(model), torch.no_grad():
            classes = model(x[:1]).shape[1]
            if classes < _CLASSES:
                raise ModelError(
                    f"AutoAttack needs a model of at least {_CLASSES} classes, got {classes}: use APGD, FAB and Square"
                )
            with _left_alone(x.device):
                run = suite(
                    _InSinglePrecision(model),
                    norm=_NORMS[threat.norm],
                    eps=room.epsilon,
                    seed=seed,
                    version="standard",
                    device=x.device,
                )
                for part in (run.apgd_targeted, run.fab):
                    part.n_target_classes = min(part.n_target_classes, classes - 1)
                x_adv, _ = run.run_standard_evaluation(x.float(), y, batch_size=len(x))
        found = (x_adv != x.float()).flatten(1).any(1).view(-1, 1, 1, 1)
        return torch.where(found, room.project(x, x_adv.to(x.dtype)), x)


class _InSinglePrecision(nn.Module):
    """The suite works in float32 only."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.to(self.dtype)).float()


def _suite() -> Any:
    try:
        return import_module("pyautoattack").AutoAttack
    except ImportError as error:
        raise UsageError(
            "AutoAttack needs the optional package pyautoattack, which is not installed: "
            "pip install 'brittle[autoattack]', or use the effort \"thorough\""
        ) from error


@contextmanager
def _left_alone(device: torch.device) -> Iterator[None]:
    """Global state that the suite changes, put back: random numbers, the trace function; and its messages muted."""
    logger, trace = logging.getLogger(_LOGGER), sys.gettrace()
    disabled = logger.disabled
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), redirect_stdout(io.StringIO()):
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = disabled
            sys.settrace(trace)
