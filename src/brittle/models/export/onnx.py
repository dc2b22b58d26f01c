"""ONNX files, checked against the network that they were written from."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from math import inf
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.files import replacing
from brittle.models.export.cost import made_batch, run
from brittle.models.frozen import frozen
from brittle.models.messages import first_line

SUFFIX = ".onnx"
# Written for every runtime since onnxruntime 1.14 (2023)
OPSET = 18
# Names of the file's one input (batch, *input_shape) and one output (batch, classes)
INPUT, OUTPUT = "pixels", "logits"
# Batches that the file is run on; neither is the one that it was written with
_SIZES = (1, 5)
_TRACED = 3


def export_onnx(
    model: nn.Module, path: str | Path, input_shape: tuple[int, ...], *, tolerance: float = 1e-4, seed: int = 0
) -> float:
    """Write an ONNX file whose batches may have any size, run it with onnxruntime, and return how far it is off.

    The file takes "pixels" (batch, *input_shape) and returns "logits". It is written with torch.onnx for opset 18, with
    weights inside, beside its place, and takes that place only once its outputs agree on made inputs. The model is
    left as it was.

    Args:
        model: takes (b, *input_shape), returns logits.
        path: ends in .onnx.
        input_shape: of one input.
        tolerance: largest accepted difference, relative to the largest logit where that is above 1.
        seed: of the made inputs, uniform in [0, 1].

    Returns:
        The largest absolute difference of an output.

    Raises:
        ModelError: onnx, onnxscript or onnxruntime is missing, another suffix, a model that ONNX cannot express, a
            place that cannot be written, or outputs that differ.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ModelError(f"an ONNX file ends in {SUFFIX}, got {path.name!r}: choose {path.with_suffix(SUFFIX).name}")
    runtime = [_package(name) for name in ("onnx", "onnxscript", "onnxruntime")][-1]
    twin = _twin(model)
    x = made_batch(twin, input_shape, _TRACED, seed=seed)
    if x.dtype == torch.bfloat16:
        raise ModelError("a model of bfloat16 numbers cannot be checked as ONNX: convert it with model.float()")
    program = _translated(twin, x)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(program)
            apart = _largest_difference(runtime, temporary, twin, input_shape, tolerance, seed)
    except OSError as error:
        raise ModelError(f"cannot write {path} ({first_line(error)}): choose a folder that can be written") from None
    return apart


def _package(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:  # an installed one can fail to import
        raise ModelError(f"writing ONNX needs {name} ({first_line(error)}): pip install 'brittle[onnx]'") from None


def _twin(model: nn.Module) -> nn.Module:
    """A copy on the CPU in eval mode: translating may leave traces in a model."""
    try:
        return copy.deepcopy(model).cpu().eval()
    except Exception as error:  # tensors with a history, handles, whatever a foreign module holds
        raise ModelError(f"the model cannot be copied ({first_line(error)}): pass a plain nn.Module") from None


def _translated(model: nn.Module, x: Tensor) -> bytes:
    run(model, x)
    with frozen(model), _quiet():
        try:
            program = torch.onnx.export(
                model,
                (x,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
            assert program is not None
            return program.model_proto.SerializeToString()  # at most 2 GB, as the format has it
        except Exception as error:  # the exporter fails in many ways
            raise ModelError(
                f"the model cannot be written as ONNX ({first_line(error)}): save it as safetensors instead"
            ) from None


def _largest_difference(
    runtime: ModuleType, path: Path, model: nn.Module, shape: tuple[int, ...], tolerance: float, seed: int
) -> float:
    try:
        session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions
        raise ModelError(f"onnxruntime cannot read the file that was written ({first_line(error)})") from None
    worst = 0.0
    for size in _SIZES:
        x = made_batch(model, shape, size, seed=seed + size)
        with torch.no_grad():
            ours = run(model, x)
        theirs = torch.from_numpy(session.run([OUTPUT], {INPUT: x.numpy()})[0])
        apart = float((theirs - ours).abs().max()) if theirs.shape == ours.shape else inf
        if not apart <= tolerance * max(1.0, float(ours.abs().max())):
            raise ModelError(
                f"the ONNX file's outputs differ by {apart:.1e}, more than {tolerance:g}: it was not kept; save the "
                "model as safetensors instead"
            )
        worst = max(worst, apart)
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's account of its steps from the user."""
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    try:
        for logger, _ in levels:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
