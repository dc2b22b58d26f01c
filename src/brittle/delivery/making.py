"""The two stages that make a network: what stays is chosen and the rest cut away; then accuracy is won back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from brittle.compression.conditioned import condition_factors
from brittle.compression.flattened import flatten_kept
from brittle.compression.methods import compress_to
from brittle.compression.pairs import low_rank_layers
from brittle.compression.planning.auto import Trying
from brittle.compression.protocols import Evidence
from brittle.compression.quantise import round_weights
from brittle.delivery.options import CompressOptions
from brittle.delivery.stages import Made
from brittle.evaluation.progress import Progress
from brittle.results.compression import Prediction, RecoveryRecord
from brittle.results.serialise import to_dict
from brittle.training.place import Here
from brittle.training.recovery import RECOVERIES, Recovery, recover, spending

if TYPE_CHECKING:
    from brittle.delivery.job import Job


def compressed(job: Job, method: str, keep: float, progress: Progress) -> Made:
    """The network that `method` leaves at `keep` of the parameters, with "prediction", "notes", "sparse" and "bits".

    Raises:
        BrittleError: a size or a network that the method cannot do.
    """
    options = job.options
    device = torch.device(options.device)
    sample = job.data.split("train").take(options.evidence, options.seed)
    like = next((p for p in job.model.parameters() if p.is_floating_point()), sample.x)
    evidence = Evidence(
        x=sample.x.to(device=device, dtype=like.dtype),
        y=sample.y.to(device),
        threat=options.defended(job.data.input_shape) if options.robust else None,
        seed=options.seed,
    )
    trying = Trying(batch_size=options.batch_size, cache=job.cache, progress=progress)
    found = compress_to(job.model, method, keep, evidence, trying=trying)
    model, notes = found.model, list(found.notes)
    if low_rank_layers(model):
        if options.flatten is not None:
            model = flatten_kept(model, options.flatten)
        if options.orthonormal is not None:
            condition_factors(model, options.orthonormal)
    elif options.flatten is not None or options.orthonormal is not None:
        notes.append(f"{method} at {keep:g} made no low-rank layers: flatten and orthonormal had nothing to act on")
    if found.plan.bits is not None:
        notes.append(
            f"weights have {found.plan.bits} bits in simulation: the file holds the rounded numbers in their old format"
        )
    prediction: Prediction | None = found.prediction
    values = {
        "prediction": None if prediction is None else to_dict(prediction),
        "notes": notes,
        "sparse": bool(found.plan.densities),
        "bits": found.plan.bits,
    }
    return Made(model.cpu(), values)


def recovered(job: Job, kind: str, start: Made, state: Path | None, progress: Progress) -> Made:
    """The network after its recovery of that kind, with "recovery" added; zeros stay zero, rounded weights rounded.

    Raises:
        BrittleError: a budget that pays for nothing, or a recovery that diverges.
    """
    options = job.options
    low_rank = bool(low_rank_layers(start.model))
    how = recovery(options, kind, job.data.input_shape, hold_zeros=start.values["sparse"], low_rank=low_rank)
    done = recover(
        start.model,
        job.model,
        job.data.split("train"),
        job.data.split("validation"),
        how,
        seed=options.seed,
        checkpoints=state,
        every=_every(start.model),
        progress=progress,
        place=Here(options.device),
    )
    bits = start.values["bits"]
    model = done.model if bits is None else round_weights(done.model, bits)
    found = RecoveryRecord(
        kind=kind,
        asked=options.finetune,
        spent=done.spent,
        epochs=len(done.history.rows),
        best_epoch=done.best_epoch,
        learning_rate=done.learning_rate,
        norm=None if how.threat is None else how.threat.norm,
        epsilon=None if how.threat is None else how.threat.epsilon,
        penalties=dict(options.penalties),
        seconds=done.seconds,
    )
    return Made(model.cpu(), {**start.values, "recovery": to_dict(found)})


def recovery(
    options: CompressOptions, kind: str, input_shape: tuple[int, ...], *, hold_zeros: bool, low_rank: bool
) -> Recovery:
    """The settings of a recovery of that kind, of a network with zeros to hold or with low-rank layers.

    A robust compression that recovers plainly chooses rate and epoch by clean and attacked accuracy together.

    Raises:
        UsageError: a number out of its range.
    """
    return Recovery(
        kind,
        options.finetune,
        threat=None if kind == "plain" else options.defended(input_shape),
        penalties=options.penalties,
        hold_zeros=hold_zeros,
        tau=options.orthonormal if low_rank else None,
        judged=options.defended(input_shape) if options.robust and kind == "plain" else None,
    )


def check_budget(job: Job) -> None:
    """Refuse a recovery whose budget pays for nothing, before anything is made.

    Raises:
        UsageError: it does not pay for one batch.
    """
    kind = job.options.recovery
    if kind is not None:
        how = recovery(job.options, kind, job.data.input_shape, hold_zeros=False, low_rank=False)
        cost = RECOVERIES[kind].objective(how, job.model).cost
        spending(how.budget, cost, len(job.data.split("train")), how.batch_size)


# A state is written at most once in this many seconds for each 100,000 parameters, and at least once a minute.
_EVERY, _LEAST_OFTEN = 1.0, 60.0


def _every(model: torch.nn.Module) -> float:
    return min(_LEAST_OFTEN, _EVERY * max(1.0, sum(p.numel() for p in model.parameters()) / 1e5))
