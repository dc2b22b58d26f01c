"""`onnx:F.onnx`: weights for their structure, and onnxruntime for the logits; there are no gradients."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brittle.errors import ModelError
from brittle.models.black_box import BlackBox
from brittle.models.loaded import LoadedModel, Request
from brittle.models.messages import first_line
from brittle.models.onnx_weights import OnnxWeights

_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
# Their scale is that of the whole batch: a sample's logits would change with the others.
_WHOLE_BATCH = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul")


def from_onnx(request: Request) -> LoadedModel:
    """The network in an ONNX file as a black box with its weights.

    The file takes one batch of pixels in [0, 1] and returns logits first; other normalisation must be in the file.

    Raises:
        ModelError: onnx or onnxruntime is missing, or the file is, or cannot be run, or has several inputs.
    """
    if request.weights is not None:
        raise ModelError(f"{request.spec} has its own weights: leave --weights out")
    path = Path(request.rest)
    if not path.is_file():
        raise ModelError(f"no such ONNX file: {path}; expected onnx:F.onnx")
    onnx, runtime = _packages(request.spec)
    try:
        graph = onnx.load(str(path)).graph
        session = _session(runtime, path)
    except Exception as error:  # protobuf's errors and onnxruntime's own
        raise ModelError(
            f"{path} cannot be run by onnxruntime ({first_line(error)}): export it again, with the weights inside"
        ) from None
    alone = any(node.op_type in _WHOLE_BATCH for node in graph.node)
    runner = _Runner(path, session, alone)
    found = OnnxWeights(graph, onnx.numpy_helper.to_array).find()
    notes = ["runs in onnxruntime: a black box without gradients, expected to take pixels in [0, 1]"]
    if alone:
        notes.append("its quantisation looks at the whole batch: samples are run one at a time, as when deployed")
    if len(session.get_outputs()) > 1:
        notes.append(f"has several outputs; {session.get_outputs()[0].name!r} is taken for the logits")
    return LoadedModel(BlackBox(runner, found.modules, found.others), request.spec, None, tuple(notes))


def _packages(spec: str) -> tuple[Any, Any]:
    try:
        return import_module("onnx"), import_module("onnxruntime")
    except Exception as error:
        raise ModelError(
            f"{spec} needs onnx and onnxruntime ({first_line(error)}): pip install 'brittle[onnx]'"
        ) from error


def _session(runtime: Any, path: Path) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class _Runner:
    """Feeds a session batches of the size that it takes."""

    def __init__(self, path: Path, session: Any, alone: bool) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _FLOATS:
            got = ", ".join(f"{one.name} {one.type}" for one in inputs)
            raise ModelError(f"{path} takes {got or 'nothing'}: expected one input, a batch of floating-point pixels")
        self.session, self.name, self.kind = session, inputs[0].name, _FLOATS[inputs[0].type]
        self.output = session.get_outputs()[0].name
        first = inputs[0].shape[0] if inputs[0].shape else None
        self.fixed = 1 if alone else first if isinstance(first, int) and first > 0 else None

    def __call__(self, x: Tensor) -> Tensor:
        if self.fixed is None:
            return self._run(x)
        parts = []
        for part in x.split(self.fixed):
            short = self.fixed - len(part)
            whole = torch.cat([part, part[:1].expand(short, *part.shape[1:])]) if short else part
            parts.append(self._run(whole)[: len(part)])
        return torch.cat(parts)

    def _run(self, x: Tensor) -> Tensor:
        (logits,) = self.session.run([self.output], {self.name: x.numpy().astype(self.kind)})
        return torch.from_numpy(np.asarray(logits, dtype=np.float32))
