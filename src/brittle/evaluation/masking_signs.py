"""Signs of gradient masking after the attacks: what other attacks do to the samples that stood up to them.

Legend: n samples; survivors are those that are classified correctly and that no white-box attack broke. An attack that
knows less than the white-box one cannot do more, unless the gradients misled it (Athalye, Carlini & Wagner 2018,
section 3.1; Carlini et al. 2019, section 5).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.fgsm import FGSM
from brittle.attacks.gradient import input_gradient
from brittle.attacks.losses import LOSSES
from brittle.attacks.noise import sample_noise
from brittle.attacks.protocol import Attack
from brittle.attacks.room import search_ball
from brittle.attacks.square import PAINTERS, Square
from brittle.errors import ModelError, UsageError
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.batches import batches, device_of, prepare
from brittle.evaluation.masking import judged
from brittle.models.frozen import frozen
from brittle.results.audit import Check
from brittle.threats import Ball, in_box

# Shares below which a sign is put down to chance: of flat survivors, of samples broken, of samples that more steps
# leave standing (on honest digits nets 100 steps left up to 3 % more than 20: the step size adapts to their number).
_FLAT = 0.05
_BROKEN = 0.02
_WORSE = 0.05

# Random perturbations under which a loss must move.
_DRAWS = 3

FEW, MANY = 20, 100
NO_GRADIENT = "no gradient reaches the pixels"


def masking_signs(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    *,
    survivors: Tensor,
    surrogate: nn.Module | None = None,
    black_box: Attack | None = None,
    batch_size: int,
    seed: int,
) -> tuple[Check, ...]:
    """Up to four signs that the survivors of white-box attacks owe their survival to the attacks.

    * "the loss is not flat at survivors": more than 5 % of them have a gradient of exactly zero (of the cross-entropy,
      or of the margin), or a margin that random noise of full length does not change.
    * "more steps do not hurt the attack": over all samples, 100 steps of Auto-PGD leave 5 points more than 20 steps do,
      or 20 steps leave 5 points more than a single one. Equal accuracies are no sign: on an honest net 20 steps are
      often enough.
    * "queries alone do not break survivors": Square, which reads logits only, breaks more than 2 % of the samples
      although the white-box attacks failed on them.
    * "transfer does not break survivors", with `surrogate`: examples made on another net do.

    One sign is enough for a warning; none is no proof. About 120 gradients and 1000 queries for each sample.

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, classes).
        x: pixels (n, *shape); a few hundred samples suffice.
        y: labels (n,), int64.
        threat: the ball that was searched.
        survivors: (n,) bool, for example `Attacked.survived`.
        surrogate: another net for the same data: the dense parent of a compressed net, or a child. Not a masked one.
        black_box: in place of `Square(queries=1000)`; without one the sign is left out for norms that Square lacks.
        batch_size: the most samples a model sees at once.
        seed: of all randomness.

    Raises:
        UsageError, DataError, ModelError: as `attack_survivors`; UsageError also for survivors of another shape.
    """
    prepare(x, y, None, batch_size)
    if survivors.dtype != torch.bool or survivors.shape != (len(x),):
        raise UsageError(
            f"expected survivors as {len(x)} booleans, one per sample, got {survivors.dtype} of shape "
            f"{tuple(survivors.shape)}: give Attacked.survived"
        )
    rows = survivors.to(x.device).nonzero()[:, 0]
    found = [
        _flat(model, x, y, rows, threat, batch_size, seed),
        _steps(model, x, y, threat, batch_size, seed),
    ]
    if black_box is None and threat.norm in PAINTERS:
        black_box = Square(queries=1000)
    if black_box is not None:
        found.append(_queries(model, x, y, rows, threat, black_box, batch_size, seed))
    if surrogate is not None:
        found.append(_transfer(model, surrogate, x, y, rows, threat, batch_size, seed))
    return tuple(found)


def _chance(n: int) -> float:
    """Samples of n that are put down to chance: two, or more where there are many."""
    return max(2.0, _BROKEN * n)


def _flat(model: nn.Module, x: Tensor, y: Tensor, rows: Tensor, threat: Ball, batch_size: int, seed: int) -> Check:
    name = "the loss is not flat at survivors"
    if len(rows) == 0:
        return judged(name, False, "no sample survived")
    try:
        zero = {loss: _zero_share(model, x, y, rows, loss, batch_size) for loss in ("ce", "margin")}
    except ModelError as error:
        return judged(name, True, f"{NO_GRADIENT} ({error})")
    still = _still_share(model, x, y, rows, threat, batch_size, seed)
    finding = (
        f"of {len(rows)} survivors {zero['ce']:.1%} have a cross-entropy with a gradient of exactly zero, "
        f"{zero['margin']:.1%} a margin with one, and {still:.1%} a margin that random noise does not change"
    )
    return judged(name, max(zero["ce"], zero["margin"], still) > _FLAT, finding)


def _zero_share(model: nn.Module, x: Tensor, y: Tensor, rows: Tensor, loss: str, batch_size: int) -> float:
    device = device_of(model, x)
    zero = 0
    with frozen(model):
        for part in batches(rows, batch_size):
            _, _, gradient = input_gradient(model, x[part].to(device), y[part].to(device), LOSSES[loss])
            zero += int((gradient.flatten(1) == 0).all(1).sum())
    return zero / len(rows)


def _still_share(
    model: nn.Module, x: Tensor, y: Tensor, rows: Tensor, threat: Ball, batch_size: int, seed: int
) -> float:
    """Share of rows whose margin is the same, to the last bit, at x and under every draw of noise."""
    ball, device = search_ball(threat, x), device_of(model, x)
    still = 0
    with frozen(model), torch.no_grad():
        for part in batches(rows, batch_size):
            centre, label = x[part].to(device), y[part].to(device)
            clean = LOSSES["margin"](model(centre), label)
            same = torch.ones_like(label, dtype=torch.bool)
            for draw in range(_DRAWS):
                noise = sample_noise(seed, part, x.shape[1:], f"masking-signs/{draw}", dtype=x.dtype, device=device)
                same &= LOSSES["margin"](model(in_box(centre, ball.sphere(noise))), label) == clean
            still += int(same.sum())
    return still / len(rows)


def _steps(model: nn.Module, x: Tensor, y: Tensor, threat: Ball, batch_size: int, seed: int) -> Check:
    name = "more steps do not hurt the attack"

    def left(attack: Attack) -> float:
        return attack_survivors(model, x, y, threat, (attack,), batch_size=batch_size, seed=seed).accuracy

    try:
        one, few, many = (left(FGSM("margin")), left(APGD(FEW, "margin")), left(APGD(MANY, "margin")))
    except ModelError as error:
        return judged(name, True, f"{NO_GRADIENT} ({error})")
    finding = f"accuracy {one:.3f} after one step, {few:.3f} after {FEW}, {many:.3f} after {MANY}"
    return judged(name, many > few + _WORSE or few > one + _WORSE, finding)


def _queries(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    rows: Tensor,
    threat: Ball,
    attack: Attack,
    batch_size: int,
    seed: int,
) -> Check:
    def find(centre: Tensor, label: Tensor, part: Tensor) -> Tensor:
        return attack(model, centre, label, threat, indices=part, seed=seed)

    name, who = "queries alone do not break survivors", f"{attack.name}, without gradients,"
    return _broken(name, who, model, x, y, rows, batch_size, find)


def _transfer(
    model: nn.Module,
    surrogate: nn.Module,
    x: Tensor,
    y: Tensor,
    rows: Tensor,
    threat: Ball,
    batch_size: int,
    seed: int,
) -> Check:
    home, attack = device_of(surrogate, x), WorstCase(APGD(FEW))
    clean_right(surrogate, x, y, batch_size)  # refuses a net for other data before any work

    def find(centre: Tensor, label: Tensor, part: Tensor) -> Tensor:
        return attack(surrogate, centre.to(home), label.to(home), threat, indices=part, seed=seed)

    name, who = "transfer does not break survivors", "examples from a surrogate"
    return _broken(name, who, model, x, y, rows, batch_size, find)


def _broken(
    check: str,
    who: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    rows: Tensor,
    batch_size: int,
    find: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Check:
    """Count the survivors that the answers of `find(x, y, rows)` break."""
    device = device_of(model, x)
    broken = 0
    with frozen(model):
        for part in batches(rows, batch_size):
            label = y[part].to(device)
            answer = find(x[part].to(device), label, part).to(device)
            with torch.no_grad():
                broken += int((model(answer).argmax(1) != label).sum())
    finding = f"{who} broke {broken} of {len(rows)} samples that white-box attacks left ({broken / len(x):.1%} of all)"
    return judged(check, broken > _chance(len(x)), finding)
