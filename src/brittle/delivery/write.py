"""The smaller networks as files that load anywhere, marked with where they come from and whether the gate held."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from brittle.delivery.names import sibling
from brittle.delivery.run import Compression
from brittle.models.export.onnx import export_onnx
from brittle.models.file import save
from brittle.results.compression import CompressionResult, FrontPoint

# What a file's marks say, beside its recipe.
ORIGIN, GATE, PARTIAL = "compression", "gate", "partial"


def with_files(compression: Compression, out: Path) -> Compression:
    """The same after `write_models`."""
    result, _ = write_models(compression, out)
    return replace(compression, result=result)


def write_models(compression: Compression, out: Path) -> tuple[CompressionResult, tuple[Path, ...]]:
    """Write the smaller network to `out` and a sweep's others beside it; the record with their names and size.

    Raises:
        ModelError: a network without a recipe, or a place that cannot be written.
    """
    result = compression.result
    keep = result.asked.keep
    networks = {sibling(out, share): (share, model) for share, model in compression.siblings.items()}
    if keep in result.asked.sweep:
        networks[sibling(out, keep)] = (keep, compression.model)
    names: dict[float, str] = {share: place.name for place, (share, _) in networks.items()} | {keep: out.name}
    save(compression.model, out, marks=marks(result, keep))
    for place, (share, model) in networks.items():
        save(model, place, marks=marks(result, share))
    size = replace(result.child_size, file_bytes=out.stat().st_size)
    front = tuple(_named(point, result.asked.method, names) for point in result.front)
    return replace(result, child_size=size, front=front), (out, *networks)


def marks(result: CompressionResult, keep: float) -> dict[str, str]:
    """What the file of the network at that share says about itself.

    "compression" is JSON (method, share, parent, data, seed, version), "gate" is "held", "exceeded" or "none" (also for
    a sweep's other networks, whose drops are not tested), "partial" is "yes" where the time limit cut something short.
    """
    asked = result.asked
    origin = {
        "method": asked.method,
        "keep": keep,
        "robust": asked.robust,
        "finetune": asked.finetune,
        "recover": asked.recover,
        "parent": result.parent.name,
        "parent_parameters": result.parent.parameters,
        "data": result.data.name,
        "seed": result.seed,
        "brittle": result.brittle,
    }
    tested = result.gate if keep == asked.keep else None
    return {
        ORIGIN: json.dumps(origin, sort_keys=True),
        GATE: "none" if tested is None else "held" if tested.held else "exceeded",
        PARTIAL: "yes" if result.partial else "no",
    }


def _named(point: FrontPoint, method: str, names: dict[float, str]) -> FrontPoint:
    return replace(point, file=names.get(point.keep)) if point.method == method else point


def check_export(model: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Refuse a network that cannot be written as ONNX, before the work on a smaller one.

    Raises:
        ModelError: the packages are absent, or the network cannot be exported.
    """
    with TemporaryDirectory() as folder:
        export(model, Path(folder) / "parent.onnx", input_shape)


def export(model: nn.Module, place: Path, input_shape: tuple[int, ...]) -> str:
    """Write the network as ONNX and check it; a note on how far its outputs are from the network's.

    Raises:
        ModelError: the packages are absent, or the network cannot be exported.
    """
    difference = export_onnx(model, place, input_shape)
    return f"{place.name}: the outputs of the ONNX file differ from the network's by at most {difference:.1e}"
