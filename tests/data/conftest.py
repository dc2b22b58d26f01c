"""Helpers that write small data sets by hand, and the place of the real ones."""

from __future__ import annotations

import gzip
import io
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def shared() -> Callable[[str], Path]:
    def folder(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"real data absent: ../shared/data/{name}")
        return SHARED / name

    return folder


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "brittle"


@pytest.fixture
def idx_bytes() -> Callable[..., bytes]:
    def write(values: bytes, *shape: int, kind: int = 8) -> bytes:
        return bytes((0, 0, kind, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + values

    return write


@pytest.fixture
def mnist_folder(tmp_path: Path, idx_bytes: Callable[..., bytes]) -> Path:
    """40 training and 20 test images of 2 x 3; all pixels of the i-th are i; labels cycle through 0 .. 9."""
    for prefix, n in (("train", 40), ("t10k", 20)):
        images = bytes(i for i in range(n) for _ in range(6))
        labels = bytes(i % 10 for i in range(n))
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images, n, 2, 3)))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels, n)))
    return tmp_path


@pytest.fixture
def png() -> Callable[..., bytes]:
    """A lossless image file whose bytes count up from `start`."""

    def make(start: int = 0, shape: tuple[int, ...] = (4, 5), mode: str | None = None, kind: str = "PNG") -> bytes:
        pixels = ((np.arange(math.prod(shape)) + start) % 256).astype(np.uint8).reshape(shape)
        image = Image.fromarray(pixels)
        if mode:
            image = image.convert(mode)
        file = io.BytesIO()
        image.save(file, kind)
        return file.getvalue()

    return make
