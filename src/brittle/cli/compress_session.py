"""Loads what a compress command names and compresses it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brittle.auditing.run import Subject
from brittle.cli.session import load_subject
from brittle.data.dataset import Dataset
from brittle.data.load import load_data
from brittle.delivery.checks import check_names
from brittle.delivery.options import CompressOptions
from brittle.delivery.run import Compression, deliver
from brittle.delivery.write import check_export
from brittle.errors import UsageError
from brittle.evaluation.progress import Progress
from brittle.models.recipe import recipe_of


@dataclass(frozen=True)
class CompressRequest:
    """What the user typed."""

    model: str
    weights: str | None
    data: str
    resume: Path | None
    command: str
    out: str
    onnx: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was delivered (None: the time limit came first), for inputs of that shape, from the model of that name."""

    delivered: Compression | None
    input_shape: tuple[int, ...]
    parent: str


def run_compression(request: CompressRequest, options: CompressOptions, progress: Progress | None) -> Outcome:
    """Load model and data, compress.

    Raises:
        BrittleError: options, model or data that cannot be used or do not fit, or a size that cannot be reached.
    """
    check_names(options)
    data: Dataset = load_data(request.data)
    parent = load_subject(request.model, request.weights, data)
    if recipe_of(parent.model) is None:
        raise UsageError(
            f"{request.model} carries no recipe, so the file of --out could not be loaded again: give a file that "
            "brittle wrote, zoo:..., timm:... or torchvision:..., or use brittle.compress from Python"
        )
    if request.onnx:
        check_export(parent.model, data.input_shape)
    name = f"{parent.name} (parent)" if parent.name == request.out else parent.name
    named = Subject(parent.model, name, parent.notes)
    delivered = deliver(
        named,
        data,
        options,
        child=request.out,
        folder=request.resume,
        command=request.command,
        progress=progress,
    )
    return Outcome(delivered, data.input_shape, named.name)
