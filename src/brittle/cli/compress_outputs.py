"""Where a compression writes its results: checked before the work, written after it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from brittle.cli.outputs import STDOUT
from brittle.delivery.names import sibling
from brittle.errors import ModelError, UsageError
from brittle.files import check_writable, write_text

if TYPE_CHECKING:
    from brittle.delivery.run import Compression
    from brittle.results.compression import CompressionResult

SUFFIX, ONNX_SUFFIX = ".safetensors", ".onnx"


@dataclass(frozen=True)
class CompressOutputs:
    """Files asked for; `json` may be "-" for stdout."""

    out: Path
    html: Path | None
    json: Path | None
    onnx: Path | None

    def check(self, shares: Sequence[float]) -> None:
        """Refuse places that could not be written.

        Raises:
            UsageError: another suffix, a folder that is missing, no plain file, or one file for two results.
        """
        if self.out.suffix != SUFFIX:
            raise UsageError(f"--out writes a model: expected a name that ends in {SUFFIX}, got {self.out.name!r}")
        if self.onnx is not None and self.onnx.suffix != ONNX_SUFFIX:
            name = self.onnx.name
            raise UsageError(f"--onnx writes a model: expected a name that ends in {ONNX_SUFFIX}, got {name!r}")
        asked = (self.out, self.html, self.json, self.onnx)
        files = [place for place in asked if place is not None and place != STDOUT]
        files += [sibling(self.out, share) for share in shares]
        for place in files:
            check_writable(place)
        if len({place.resolve() for place in files}) < len(files):
            raise UsageError(
                "two results would go to one file: give --out, --html, --json and --onnx different names, and each "
                "share of --sweep once"
            )

    def write(self, delivered: Compression, parent: str, shape: tuple[int, ...]) -> tuple[CompressionResult, list[str]]:
        """Write everything asked for, the weights first, then the numbers, then the page.

        Returns the record as written, and a line for people on each file.

        Raises:
            ModelError, UsageError: a model that cannot be written or exported, or a place that cannot be written.
        """
        from brittle.delivery.write import export, write_models
        from brittle.report.compression_page import write_compression_html
        from brittle.results.serialise import dumps

        result, places = write_models(delivered, self.out)
        lines = [f"weights: {place}" for place in places]
        failure: ModelError | None = None
        if self.onnx is not None:
            try:
                note = export(delivered.model, self.onnx, shape)
                lines.append(f"onnx: {self.onnx}")
            except ModelError as error:  # everything else is worth writing
                failure, note = error, f"no ONNX file was written: {error}"
            result = replace(result, notes=(*result.notes, note))
        if self.json == STDOUT:
            sys.stdout.write(dumps(result))
            sys.stdout.flush()
        elif self.json is not None:
            lines.append(f"numbers: {write_text(self.json, dumps(result))}")
        if self.html is not None:
            write_compression_html(self.html, result, title=f"brittle: {parent} → {self.out.name}")
            lines.append(f"report: {self.html}")
        if failure is not None:
            raise ModelError(f"{failure}; the smaller network is in {self.out}")
        return result, lines
