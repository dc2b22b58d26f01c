"""Broken files of every kind that a user may hand to the command line, and a few whole ones."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from brittle.models.file import save
from brittle.models.recipe import Recipe, build


def make_bad_files(folder: Path) -> None:
    """Fill `folder`; the names say what is wrong with each file."""
    _models(folder)
    _arrays(folder)
    _idx(folder)
    (folder / "broken.toml").write_text("samples = = 5\n")
    (folder / "typo.toml").write_text("sampels = 5\n")
    (folder / "list.toml").write_text("samples = [1, 2]\n")
    (folder / "empty").mkdir()


def _models(folder: Path) -> None:
    model = build(Recipe("mlp", (1, 8, 8), 10, {"widths": [4]}), seed=0)
    save(model, folder / "good.safetensors")
    save(build(Recipe("mlp", (3, 8, 8), 10, {"widths": [4]}), seed=0), folder / "colour.safetensors")
    save_file(dict(model.state_dict()), folder / "no-recipe.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "good.safetensors").read_bytes()[:-100])
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), folder / "whole-module.pt")
    torch.save(nn.Linear(7, 3).state_dict(), folder / "other-shape.pt")
    with torch.no_grad():
        next(model.parameters())[0, 0] = torch.nan
    torch.save(model.state_dict(), folder / "nan.pt")


def _arrays(folder: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 8, 8), dtype=np.float32), np.arange(40) % 10
    nan = x.copy()
    nan[:, 3, 3] = np.nan  # in every sample, so in the test part too
    np.savez(folder / "labels.npz", x=x, y=np.where(y == 3, -1, y))
    np.savez(folder / "many-labels.npz", x=x, y=y, classes=np.array(list("012")))
    np.savez(folder / "nan.npz", x=nan, y=y)
    np.savez(folder / "bytes-as-floats.npz", x=255 * x, y=y)
    np.savez(folder / "one-hot.npz", x=x, y=np.eye(10, dtype=np.int64)[y])
    np.savez(folder / "names.npz", images=x, labels=y)


def _idx(folder: Path) -> None:
    images = struct.pack(">4B3I", 0, 0, 8, 3, 20, 8, 8) + bytes(20 * 64)
    labels = struct.pack(">4B1I", 0, 0, 8, 1, 20) + bytes(20)
    for name, first, second in (
        ("idx-magic", b"\x00\x00\x0d\x03" + images[4:], gzip.compress(labels, mtime=0)),
        ("idx-cut-gzip", images, gzip.compress(labels, mtime=0)[:-12]),
        ("idx-short", images[:-64], gzip.compress(labels, mtime=0)),
        ("idx-no-labels", images, b""),
    ):
        (folder / name).mkdir()
        (folder / name / "t10k-images-idx3-ubyte").write_bytes(first)
        if second:
            (folder / name / "t10k-labels-idx1-ubyte.gz").write_bytes(second)
