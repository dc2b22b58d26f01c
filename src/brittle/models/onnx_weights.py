"""The weight matrices in an ONNX file, by the operations that use them.

Rows are outputs. Quantised weights are measured as what they stand for, (stored - zero point) * scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Positions among a node's inputs of its weight, its scale and zero point (quantised forms), and its shift.
_WEIGHT: dict[str, tuple[int, int | None, int | None, int | None]] = {
    "Gemm": (1, None, None, 2),
    "MatMul": (1, None, None, None),
    "Conv": (1, None, None, 2),
    "ConvTranspose": (1, None, None, 2),
    "MatMulInteger": (1, None, 3, None),
    "ConvInteger": (1, None, 3, None),
    "QLinearMatMul": (3, 4, 5, None),
    "QLinearConv": (3, 4, 5, None),
}
_CONVS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
_TRANSPOSED = {3: nn.ConvTranspose1d, 4: nn.ConvTranspose2d, 5: nn.ConvTranspose3d}
# What exporters and quantisers put behind a weight's own name
_ENDINGS = ("_quantized", "_Transposed", "_scale", "_DequantizeLinear_Output", ".weight")


@dataclass(frozen=True)
class Found:
    """Modules that hold the matrices, by path, and all other floating-point or quantised weights by name."""

    modules: dict[str, nn.Module]
    others: dict[str, Tensor]


class OnnxWeights:
    """Reads the weights of an ONNX graph with the onnx package's `numpy_helper`."""

    def __init__(self, graph: Any, to_array: Any) -> None:
        self.graph, self.to_array = graph, to_array
        self.stored = {i.name: i for i in graph.initializer}
        self.made = {out: node for node in graph.node for out in node.output}
        self.used: set[str] = set()

    def find(self) -> Found:
        """All weights; one that several operations share is there once."""
        modules: dict[str, nn.Module] = {}
        seen: set[str] = set()
        for node in self.graph.node:
            for name, module in self._of(node):
                if name not in seen:
                    seen.add(name)
                    path = _path(name)
                    modules[path if path not in modules else name] = module
        others = {}
        for name, initialiser in self.stored.items():
            value = self.to_array(initialiser)
            if name not in self.used and value.ndim and value.dtype.kind in "fiu" and value.dtype.itemsize < 8:
                others[name] = torch.from_numpy(np.array(value))
        return Found(modules, others)

    def _of(self, node: Any) -> Iterator[tuple[str, nn.Module]]:
        if node.op_type not in _WEIGHT:
            return
        at, scale_at, zero_at, shift_at = _WEIGHT[node.op_type]
        inputs = list(node.input)
        got = self._value(inputs[at])
        turned = False
        if got is None and node.op_type == "MatMul":  # W @ x
            got, turned = self._value(inputs[0]), True
        if got is None:
            return
        name, value = got
        if node.op_type in ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"):
            scale = self._number(inputs, scale_at) if scale_at else self._named_scale(name)
            if scale is None:
                return
            value = _dequantised(value, scale, self._number(inputs, zero_at), 0 if "Conv" in node.op_type else -1)
        if value.dtype.kind != "f":
            return
        attributes = {a.name: a.i for a in node.attribute}
        module = _module(node.op_type, torch.from_numpy(np.array(value, dtype=np.float32)), turned, attributes)
        if module is None:
            return
        self.used.update({name, f"{name.removesuffix('_quantized')}_zero_point"})
        shift = self._value(inputs[shift_at]) if shift_at is not None and len(inputs) > shift_at else None
        if shift is not None and shift[1].dtype.kind == "f" and shift[1].shape == (shift[1].size,):
            self.used.add(shift[0])
            module.bias = nn.Parameter(torch.from_numpy(np.array(shift[1], dtype=np.float32)))
        yield name, module

    def _value(self, name: str) -> tuple[str, np.ndarray[Any, Any]] | None:
        """The stored tensor behind a name, through what only changes its form; None where it is computed."""
        if name in self.stored:
            return name, self.to_array(self.stored[name])
        node = self.made.get(name)
        if node is None:
            return None
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            return None if value is None else (name, self.to_array(value))
        if node.op_type not in ("Identity", "Cast", "Transpose", "DequantizeLinear"):
            return None
        inner = self._value(node.input[0])
        if inner is None:
            return None
        own, value = inner
        if node.op_type == "Transpose":
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
            return own, value.transpose(order)
        if node.op_type == "DequantizeLinear":
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            scale = self._number(list(node.input), 1)
            return (
                None
                if scale is None
                else (
                    own,
                    _dequantised(value, scale, self._number(list(node.input), 2), axis),
                )
            )
        return own, value

    def _number(self, inputs: list[str], at: int | None) -> np.ndarray[Any, Any] | None:
        """The scale or zero point at a position; where it is stored it is no weight of its own."""
        if at is None or len(inputs) <= at or (got := self._value(inputs[at])) is None:
            return None
        self.used.add(got[0])
        return got[1]

    def _named_scale(self, name: str) -> np.ndarray[Any, Any] | None:
        """onnxruntime's quantiser multiplies the scale in later; it calls it by the weight's name."""
        scale = f"{name.removesuffix('_quantized')}_scale"
        if not name.endswith("_quantized") or scale not in self.stored:
            return None
        self.used.add(scale)
        return self.to_array(self.stored[scale])


def _dequantised(
    stored: np.ndarray[Any, Any], scale: np.ndarray[Any, Any], zero: np.ndarray[Any, Any] | None, axis: int
) -> np.ndarray[Any, Any]:
    """(stored - zero) * scale; scale and zero point are one number, or one for each entry along `axis`."""

    def spread(v: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if v.size == 1:
            return v.reshape(())
        shape = [1] * stored.ndim
        shape[axis] = v.size
        return v.reshape(shape)

    shifted = stored.astype(np.float64) - (0.0 if zero is None else spread(zero).astype(np.float64))
    return (shifted * spread(scale).astype(np.float64)).astype(np.float32)


def _module(kind: str, w: Tensor, turned: bool, attributes: dict[str, int]) -> nn.Module | None:
    """A torch module that holds the weight (rows are outputs)."""
    module: nn.Module
    if kind == "ConvTranspose" and w.dim() in _TRANSPOSED:
        groups = attributes.get("group", 1)
        module = _TRANSPOSED[w.dim()](groups, groups, 1, groups=groups, bias=False, device="meta")
    elif "Conv" in kind and w.dim() in _CONVS:
        module = _CONVS[w.dim()](1, 1, 1, bias=False, device="meta")
    elif "Conv" not in kind and w.dim() == 2:
        as_it_is = turned or (kind == "Gemm" and attributes.get("transB", 0) == 1)
        w = w if as_it_is else w.mT
        module = nn.Linear(w.shape[1], w.shape[0], bias=False, device="meta")
    else:
        return None
    module.weight = nn.Parameter(w.contiguous())
    return module


def _path(name: str) -> str:
    """A weight's module as its exporter knew it: fc1.weight_Transposed_quantized is fc1."""
    while any(name.endswith(ending) and name != ending for ending in _ENDINGS):
        name = next(name.removesuffix(e) for e in _ENDINGS if name.endswith(e) and name != e)
    return name.replace("/", ".").replace(":", "_").strip(".") or "weight"
