"""Tensors that hold the same numbers (tied weights saved twice): found by samples, then compared whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from brittle.checkpoints.files import Stored, opened

_SAMPLES = 16
_SAMPLE_BYTES = 4096
_CHUNK_BYTES = 2**24


def same_content(tensors: Sequence[Stored]) -> list[tuple[str, ...]]:
    """Groups of two and more names with equal format, shape and bytes, in the order given."""
    alike: dict[tuple[object, ...], list[Stored]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.dtype, tensor.shape, fingerprint(tensor)), []).append(tensor)
    groups: list[tuple[str, ...]] = []
    for members in alike.values():
        while len(members) > 1:
            first, *rest = members
            same = [other for other in rest if _equal(first, other)]
            if same:
                groups.append((first.name, *(other.name for other in same)))
            members = [other for other in rest if other not in same]
    return groups


def fingerprint(tensor: Stored) -> str:
    """SHA-256 of a few places of a tensor: equal for equal content, different for most other content."""
    digest = hashlib.sha256()
    with opened(tensor.file) as file:
        content = _bytes(file, tensor)
        last = max(0, len(content) - _SAMPLE_BYTES)
        for i in range(_SAMPLES):
            start = i * last // (_SAMPLES - 1)
            digest.update(content[start : start + _SAMPLE_BYTES].numpy().tobytes())
    return digest.hexdigest()


def _equal(first: Stored, other: Stored) -> bool:
    with opened(first.file) as one, opened(other.file) as two:
        pairs = zip(_bytes(one, first).split(_CHUNK_BYTES), _bytes(two, other).split(_CHUNK_BYTES), strict=True)
        return all(torch.equal(a, b) for a, b in pairs)


def _bytes(file: object, tensor: Stored) -> Tensor:
    content: Tensor = file.get_tensor(tensor.name)  # type: ignore[attr-defined]
    return content.flatten().view(torch.uint8)
