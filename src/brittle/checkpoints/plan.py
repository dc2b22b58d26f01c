"""From the list of tensors to the list of matrices to measure; what is no matrix is listed with the reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from brittle.checkpoints.duplicates import same_content
from brittle.checkpoints.files import Checkpoint, Stored
from brittle.checkpoints.formats import CODES, reason_unread
from brittle.checkpoints.scales import Scale, find_scale
from brittle.checkpoints.splits import Part, conv1d_blocks, parts_of
from brittle.results.layer import Unmeasured

_CODED = (
    "eight-bit codes without a scale that could be recognised: numbers are those of the codes, and structure is that "
    "of the weights only where one scale holds for all rows"
)


@dataclass(frozen=True)
class Matrix:
    """A matrix to measure: where it lies and how it is read. `same_as` are tensors of equal content."""

    part: Part
    stored: Stored
    scale: Scale | None
    notes: tuple[str, ...]
    same_as: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the layer."""
        return self.part.name

    @property
    def view(self) -> tuple[int, int]:
        """(rows, columns) as stored, before a range of outputs is taken."""
        shape = self.stored.shape if self.part.index is None else self.stored.shape[1:]
        columns = 1
        for side in shape[1:]:
            columns *= side
        return shape[0], columns

    @property
    def sides(self) -> tuple[int, int]:
        """(rows, columns) as stored, of this matrix alone."""
        rows, columns = self.view
        if self.part.outputs is None:
            return rows, columns
        kept = self.part.outputs[1] - self.part.outputs[0]
        return (rows, kept) if self.part.transposed else (kept, columns)

    @property
    def shape(self) -> tuple[int, int]:
        """(h, d): neurons and fan-in."""
        rows, columns = self.sides
        return (columns, rows) if self.part.transposed else (rows, columns)


@dataclass(frozen=True)
class Plan:
    """All matrices in the natural order of their names, and everything else."""

    matrices: tuple[Matrix, ...]
    unmeasured: tuple[Unmeasured, ...]


def plan(checkpoint: Checkpoint) -> Plan:
    """Every tensor of the checkpoint, either as matrices or among the unmeasured; equal tensors are measured once.

    Raises:
        ModelError: a file is missing or broken.
    """
    tensors = checkpoint.tensors
    conv1d = conv1d_blocks(tensors.values())
    matrices: list[Matrix] = []
    unmeasured: list[Unmeasured] = []
    scales: dict[str, str] = {}
    for name in sorted(tensors, key=natural):
        tensor = tensors[name]
        scale = find_scale(tensor, tensors)
        if scale is not None:
            scales[scale.stored.name] = name
        reason = _reason(tensor)
        if reason is not None:
            unmeasured.append(Unmeasured(name, tensor.shape, reason))
            continue
        matrices += [_matrix(part, tensor, scale) for part in parts_of(tensor, conv1d)]
    matrices = [matrix for matrix in matrices if matrix.stored.name not in scales]
    listed = {row.name: row for row in unmeasured}
    for name, codes in scales.items():
        listed[name] = Unmeasured(name, tensors[name].shape, f"the scale of {codes}, read with it")
    return Plan(_merged(matrices, tensors), tuple(listed[name] for name in sorted(listed, key=natural)))


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which layers.10 comes after layers.9."""
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"([0-9]+)", name) if part)


def _reason(tensor: Stored) -> str | None:
    unread = reason_unread(tensor.dtype)
    if 0 in tensor.shape:
        return "empty"
    if len(tensor.shape) < 2:
        return unread or "a vector or a number (bias, gain, running mean): no matrix"
    if unread is None and len(tensor.shape) > 2 and tensor.shape[0] == 1:
        return "a table with one leading entry (positions, tokens): no neurons"
    return unread


def _matrix(part: Part, tensor: Stored, scale: Scale | None) -> Matrix:
    coded = _CODED if tensor.dtype in CODES and scale is None else ""
    return Matrix(part, tensor, scale, tuple(note for note in (part.note, coded) if note), ())


def _merged(matrices: list[Matrix], tensors: Mapping[str, Stored]) -> tuple[Matrix, ...]:
    """Tensors of equal content keep their first matrix only; equal layer names get their tensors' full ones."""
    plain = {m.stored.name: m.stored for m in matrices if m.scale is None}
    groups = same_content([tensors[name] for name in plain])
    firsts = {group[0]: group[1:] for group in groups}
    dropped = {name for others in firsts.values() for name in others}
    kept = [replace(m, same_as=firsts.get(m.stored.name, ())) for m in matrices if m.stored.name not in dropped]
    seen = Counter(m.name for m in kept)
    return tuple(m if seen[m.name] == 1 else replace(m, part=replace(m.part, name=m.stored.name)) for m in kept)
