"""Accuracy on clean, attacked and randomly perturbed inputs, per sample.

Legend: n samples, b a batch of at most `batch_size`. No result depends on the batch size beyond rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from brittle.attacks.noise import sample_noise
from brittle.attacks.protocol import Attack
from brittle.attacks.room import search_ball
from brittle.errors import UsageError
from brittle.evaluation.batches import Progress, batches, check_logits, device_of, prepare
from brittle.evaluation.checkpoint import Memory, Saver, hash_tensors
from brittle.evaluation.pace import Pace
from brittle.evaluation.standing import Attacked, Standing
from brittle.models.frozen import frozen
from brittle.threats import Ball, in_box


def clean_right(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Whether each sample is classified correctly, (n,) bool, and its logits (n, classes), on the samples' device.

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, classes); evaluated in evaluation mode.
        x: pixels (n, *shape), float32 or float64.
        y: labels (n,), int64.
        batch_size: the most samples the model sees at once.

    Raises:
        UsageError, DataError: batch size or samples that cannot be used.
        ModelError: logits that are not finite scores (b, classes).
    """
    rows = prepare(x, y, None, batch_size)
    device = device_of(model, x)
    with frozen(model), torch.no_grad():
        logits = torch.cat(
            [check_logits(model(x[part].to(device)), y[part]).to(x.device) for part in batches(rows, batch_size)]
        )
    return logits.argmax(1) == y, logits


def attack_survivors(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    attacks: Sequence[Attack],
    *,
    batch_size: int,
    seed: int,
    indices: Tensor | None = None,
    progress: Progress | None = None,
    deadline: float | None = None,
    memory: Memory | None = None,
) -> Attacked:
    """Run the attacks in order, each on the samples that stood up to those before it, nearest to an error first.

    A sample counts as broken when the model, asked again, misclassifies the attack's answer.

    Args:
        model, x, y, batch_size: as in `clean_right`.
        threat: the ball; each answer of an attack is checked against ball and box in float64.
        attacks: for example `EFFORTS["standard"]`.
        seed: of all randomness.
        indices: positions of the samples in their data set, (n,) int64; 0 ... n - 1 by default. A part of a data set
            gets the same random numbers as within the whole when its positions are given.
        progress: told after each batch; under a deadline also when an attack will not end in time.
        deadline: a reading of `time.monotonic()` after which no further batch is attacked. Once the first batch has
            shown what a gradient costs, batches that would end later are made smaller.
        memory: where the state is kept after batches. The same call with the same memory goes on from there, to the
            same bits as without the interruption where no deadline cut batches differently; a finished one answers at
            once. The attacks are told apart by their printed form.

    Raises:
        UsageError, DataError, ModelError: as `clean_right`; UsageError also for an attack that leaves ball or box, and
            for a memory that cannot be written.
    """
    positions = prepare(x, y, indices, batch_size)
    search_ball(threat, x)  # refuses a radius below the pixels' resolution before any work
    device = device_of(model, x)
    saver = Saver(memory, _key(memory, model, x, y, positions, threat, attacks, batch_size, seed))
    pace = Pace(deadline)
    with frozen(model):
        standing = Standing.read(saver.load(), x.device)
        if standing is None:
            right, logits = clean_right(model, x, y, batch_size)
            standing = Standing.begin(x, y, right, logits)
        for number, attack in enumerate(attacks[len(standing.steps) :], start=len(standing.steps)):
            if standing.attack != number:
                standing.line_up(number)
            total = len(standing.queue)
            pace.next_attack()
            if progress is not None and pace.too_slow(attack.cost, total):
                progress(
                    f"{attack.name}: forecast up to {pace.seconds(attack.cost, total):.0f} s, over the limit", 0, 0
                )
            while standing.done < total:
                size = pace.batch(attack.cost, batch_size)
                if size == 0:
                    saver.keep(standing.state())
                    return standing.result(f"{attack.name} (stopped)")
                part = standing.queue[standing.done : standing.done + size]
                centre, label = x[part].to(device), y[part].to(device)
                with pace.timing(attack.cost, len(part)):
                    answer = attack(model, centre, label, threat, indices=positions[part], seed=seed).detach()
                _check_inside(attack.name, centre, answer, threat)
                with torch.no_grad():
                    logits = model(answer)
                standing.take(part, answer, logits, label)
                if progress is not None:
                    progress(attack.name, standing.done, total)
                if saver.due():
                    saver.keep(standing.state())
            standing.finish(attack.name)
        saver.keep(standing.state())
    return standing.result(None)


def noise_right(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    *,
    batch_size: int,
    seed: int,
    draws: int = 1,
    indices: Tensor | None = None,
) -> Tensor:
    """Whether each sample is classified correctly under random perturbations of full length, (draws, n) bool.

    The control of an attack: corners of the l_inf ball, or the l_2 sphere, clamped to the pixel box (which shortens
    some perturbations). Row d is one draw for every sample.

    Raises:
        UsageError, DataError, ModelError: as `attack_survivors`; UsageError also for draws < 1.
    """
    if draws < 1:
        raise UsageError(f"expected draws >= 1, got {draws}")
    positions = prepare(x, y, indices, batch_size)
    ball = search_ball(threat, x)
    device = device_of(model, x)
    right = torch.empty(draws, len(x), dtype=torch.bool, device=x.device)
    with frozen(model), torch.no_grad():
        for draw in range(draws):
            for part in batches(torch.arange(len(x), device=x.device), batch_size):
                noise = sample_noise(seed, positions[part], x.shape[1:], f"noise/{draw}", dtype=x.dtype, device=device)
                logits = check_logits(model(in_box(x[part].to(device), ball.sphere(noise))), y[part])
                right[draw, part] = logits.argmax(1).to(x.device) == y[part]
    return right


def _key(
    memory: Memory | None,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    positions: Tensor,
    threat: Ball,
    attacks: Sequence[Attack],
    batch_size: int,
    seed: int,
) -> str:
    """What the memory's fingerprint need not cover: how this function was called."""
    if memory is None:
        return ""
    return memory.key(
        "attack_survivors",
        samples=hash_tensors(x, y, positions),
        device=device_of(model, x),
        threat=threat,
        attacks=tuple(attacks),
        batch_size=batch_size,
        seed=seed,
    )


def _check_inside(name: str, x: Tensor, x_adv: Tensor, threat: Ball) -> None:
    """An answer outside the threat would be a false alarm, or contradict a certificate that holds."""
    if x_adv.shape != x.shape:
        raise UsageError(f"attack {name} must return shape {tuple(x.shape)}, got {tuple(x_adv.shape)}")
    length = float(threat.length(x_adv.double() - x.double()).max())
    low, high = float(x_adv.min()), float(x_adv.max())
    if not (length <= threat.epsilon and low >= 0.0 and high <= 1.0):
        raise UsageError(
            f"attack {name} left the threat: {threat.norm} length {length:.9g} for epsilon {threat.epsilon:.9g}, "
            f"pixels in [{low:.9g}, {high:.9g}]: project its answers, with a margin for rounding"
        )
