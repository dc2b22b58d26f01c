"""The Python front door of compression: one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path

from torch import nn

from brittle.auditing.run import Subject
from brittle.data.load import Data, as_dataset
from brittle.delivery.names import sibling
from brittle.delivery.options import DEFAULT_FINETUNE, CompressOptions
from brittle.delivery.run import Compression, deliver
from brittle.delivery.write import with_files
from brittle.errors import UsageError
from brittle.evaluation.progress import Progress
from brittle.files import check_folder, check_writable
from brittle.models.file import SUFFIX
from brittle.models.recipe import recipe_of


def compress(
    model: nn.Module,
    keep: float,
    data: Data,
    *,
    method: str = "auto",
    robust: bool = False,
    norm: str = "linf",
    epsilon: float | Sequence[float] | None = None,
    finetune: float = DEFAULT_FINETUNE,
    recover: str | None = None,
    penalties: Mapping[str, float] | None = None,
    flatten: float | None = None,
    orthonormal: float | None = None,
    sweep: Sequence[float] = (),
    max_drop: float | None = None,
    samples: int | None = 1000,
    evidence: int = 1000,
    effort: str = "quick",
    batch_size: int = 256,
    seed: int = 0,
    device: str = "cpu",
    out: str | Path | None = None,
    resume: str | Path | None = None,
    name: str = "model",
    progress: Progress | None = None,
) -> Compression:
    """A smaller copy of `model` (`.model`), won back and measured against it (`.result`); the model stays as it was.

    Args:
        model: takes pixels (b, *shape) in [0, 1], returns logits (b, classes).
        keep: share of the parameters that stay, in (0, 1].
        data: a DATA string, a pair of tensors (x, y), a DataLoader or a Dataset. Choices and recovery see the training
            part alone; pairs and loaders are halved, one half to learn from and one to score on.
        method: a name in `brittle.compression.methods.METHODS`.
        robust: choose what stays by the accuracy under attack as well.
        norm: of the attacks, "linf" or "l2".
        epsilon: radii that are measured, pixel units; the first is defended against. None: the audit's.
        finetune: budget of the recovery in gradient evaluations for each training image, 0 for none.
        recover: "plain", "adversarial", "trades" or "distil"; None: "adversarial" with `robust`, else "plain".
        penalties: names in `PENALTIES` with strengths, added to the recovery's loss.
        flatten: in [0, 1], how far kept singular values are brought to one level.
        orthonormal: the largest condition number of low-rank factors.
        sweep: more shares, for `.siblings` and the picture of size against accuracy in the record.
        max_drop: tolerance in percentage points; with it the record's `gate` says whether it held.
        samples: test samples drawn, None for all.
        evidence: training samples that choices are made from.
        effort: of the attacks, "quick", "standard" or "thorough".
        batch_size: the most inputs the model sees at once when measured.
        seed: of every random choice.
        device: where the work is done; the smaller model comes back on the CPU.
        out: write the smaller network there, as F.safetensors; a sweep's others go beside it.
        resume: a folder for finished stages: the same call goes on from there.
        name: the model's name in results.
        progress: told (stage, done, total).

    Raises:
        BrittleError: bad input, or a size or a network that the method cannot do; nothing is written then.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"model must be an nn.Module that takes pixels and returns logits, got a {type(model).__name__}: load a "
            "file with brittle.load"
        )
    options = CompressOptions(
        keep=keep,
        method=method,
        robust=robust,
        norm=norm,
        epsilon=_radii(epsilon),
        finetune=finetune,
        recover=recover,
        penalties=dict(penalties or {}),
        flatten=flatten,
        orthonormal=orthonormal,
        sweep=tuple(sweep),
        max_drop=max_drop,
        samples=samples,
        evidence=evidence,
        effort=effort,
        batch_size=batch_size,
        seed=seed,
        device=device,
    )
    place = None if out is None else Path(out)
    _check_places(model, place, None if resume is None else Path(resume), options)
    found = deliver(
        Subject(model, name),
        as_dataset(data),
        options,
        child="compressed" if place is None else place.name,
        folder=None if resume is None else Path(resume),
        progress=progress,
    )
    assert found is not None  # there is no time limit
    return found if place is None else with_files(found, place)


def _radii(epsilon: float | Sequence[float] | None) -> tuple[float, ...]:
    if epsilon is None:
        return ()
    try:
        return (float(epsilon),) if isinstance(epsilon, Real) else tuple(float(radius) for radius in epsilon)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise UsageError(
            f"epsilon is a radius in pixel units, or several, such as 8/255 or [0.05, 0.1], got {epsilon!r}"
        ) from None


def _check_places(model: nn.Module, out: Path | None, resume: Path | None, options: CompressOptions) -> None:
    if resume is not None:
        check_folder(resume)
    if out is None:
        return
    if out.suffix != SUFFIX:
        raise UsageError(f"out names a model file: expected a name that ends in {SUFFIX}, got {out.name!r}")
    if recipe_of(model) is None:
        raise UsageError(
            "the model carries no recipe, so its file could not be loaded again: leave out= away and save "
            "result.model.state_dict() yourself, or build the model from zoo:..., timm:... or torchvision:..."
        )
    for place in (out, *(sibling(out, share) for share in options.sweep)):
        check_writable(place)
