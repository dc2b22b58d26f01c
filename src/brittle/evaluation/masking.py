"""Signs of gradient masking before the attacks: reasons to doubt that an attack's failure will mean robustness.

The signs are those of Athalye, Carlini & Wagner (2018, section 3.1): an attack that follows gradients can only be
trusted where gradients say something. `masking_signs` looks for others once the attacks are done.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.attacks.fgsm import FGSM
from brittle.attacks.gradient import input_gradient
from brittle.attacks.losses import cross_entropy
from brittle.attacks.pgd import PGD
from brittle.attacks.protocol import Attack
from brittle.evaluation.accuracy import attack_survivors, clean_right, noise_right
from brittle.evaluation.batches import batches, device_of
from brittle.models.frozen import frozen
from brittle.results.audit import Check
from brittle.threats import Ball, ball

# Shares of the samples below which a sign is put down to chance.
_FEW = 0.05
_TIE = 0.01

REMEDY = "trust certified numbers or attacks without gradients (Square, transfer) more than attacks that follow them"


def zero_gradient_share(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> float:
    """Share of samples whose cross-entropy has an input gradient of exactly zero.

    Raises:
        UsageError, DataError, ModelError: as `clean_right`; ModelError also where no gradient flows.
    """
    clean_right(model, x, y, batch_size)
    device = device_of(model, x)
    zero = 0
    with frozen(model):
        for part in batches(torch.arange(len(x), device=x.device), batch_size):
            _, _, gradient = input_gradient(model, x[part].to(device), y[part].to(device), cross_entropy)
            zero += int((gradient.flatten(1) == 0).all(1).sum())
    return zero / len(x)


def masking_checks(
    model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, batch_size: int, seed: int
) -> tuple[Check, ...]:
    """Four signs of masked gradients at the samples (n, *shape), each a `Check` with verdict "ok" or "warning".

    A few hundred samples suffice: about 60 gradients each.

    Raises:
        UsageError, DataError, ModelError: as `attack_survivors`.
    """

    def left(within: Ball, attack: Attack) -> float:
        return attack_survivors(model, x, y, within, (attack,), batch_size=batch_size, seed=seed).accuracy

    zero = zero_gradient_share(model, x, y, batch_size)
    one_step, many_steps = left(threat, FGSM(loss="margin")), left(threat, PGD(steps=20))
    anything = left(ball("linf", 1.0), PGD(steps=40))
    noise = float(noise_right(model, x, y, threat, batch_size=batch_size, seed=seed).double().mean())
    return (
        judged(
            "gradients are not zero",
            zero > _FEW,
            f"{zero:.1%} of {len(x)} samples have an input gradient of exactly zero",
        ),
        judged(
            "the attack beats random noise",
            many_steps > noise + _TIE,
            f"accuracy {many_steps:.3f} under PGD, {noise:.3f} under noise of the same length",
        ),
        judged(
            "many steps beat one",
            many_steps > one_step + _TIE,
            f"accuracy {many_steps:.3f} after 20 steps, {one_step:.3f} after one",
        ),
        judged(
            "a huge radius breaks everything",
            anything > _FEW,
            f"accuracy {anything:.3f} at l_inf radius 1, where every image is allowed",
        ),
    )


def judged(check: str, sign: bool, finding: str) -> Check:
    """A `Check`: "warning" with the remedy where `sign` holds, else "ok"; the numbers are in `finding`."""
    if sign:
        return Check(check, "warning", f"{finding}: a sign of masked gradients; {REMEDY}")
    return Check(check, "ok", finding)
