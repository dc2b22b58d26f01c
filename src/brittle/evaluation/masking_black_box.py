"""Signs that an attack without gradients is too weak to say something: its survival would not mean robustness."""

from __future__ import annotations

from torch import Tensor, nn

from brittle.attacks.protocol import Attack
from brittle.evaluation.accuracy import attack_survivors, noise_right
from brittle.evaluation.masking import judged
from brittle.results.audit import Check
from brittle.threats import Ball, ball

# Shares of the samples below which a sign is put down to chance, as for attacks that follow gradients.
_FEW = 0.05
_TIE = 0.01


def black_box_signs(
    model: nn.Module, x: Tensor, y: Tensor, threat: Ball, attack: Attack, *, batch_size: int, seed: int
) -> tuple[Check, ...]:
    """Two signs at the samples (n, *shape), each a `Check` with verdict "ok" or "warning".

    * "the attack beats random noise": at the threat's radius it breaks more than noise of full length.
    * "a huge radius breaks everything": at l_inf radius 1, where every image is allowed, it leaves at most 5 %.

    Raises:
        UsageError, DataError, ModelError: as `attack_survivors`.
    """

    def left(within: Ball) -> float:
        return attack_survivors(model, x, y, within, (attack,), batch_size=batch_size, seed=seed).accuracy

    found, anything = left(threat), left(ball("linf", 1.0))
    noise = float(noise_right(model, x, y, threat, batch_size=batch_size, seed=seed).double().mean())
    return (
        judged(
            "the attack beats random noise",
            found > noise - _TIE and found > _FEW,
            f"accuracy {found:.3f} under {attack.name}, {noise:.3f} under noise of the same length",
        ),
        judged(
            "a huge radius breaks everything",
            anything > _FEW,
            f"accuracy {anything:.3f} under {attack.name} at l_inf radius 1, where every image is allowed",
        ),
    )
