"""Small checkpoints as files, and matrices with a known spectrum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from brittle.checkpoints.files import find_checkpoint
from brittle.checkpoints.plan import Matrix, Plan, plan


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_spectrum(h: int, d: int, sigma: Tensor, seed: int) -> Tensor:
    """A float64 matrix (h, d) with these singular values in random directions."""
    n = min(h, d)
    left, _ = torch.linalg.qr(normal(h, n, seed=seed).double())
    right, _ = torch.linalg.qr(normal(d, n, seed=seed + 1).double())
    return left @ torch.diag(sigma.double()) @ right.T


def write(file: Path, tensors: Mapping[str, Tensor]) -> Path:
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, file)
    return file


def write_shards(folder: Path, shards: Mapping[str, Mapping[str, Tensor]], *, index: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    for name, tensors in shards.items():
        write(folder / name, tensors)
    if index:
        where = {tensor: shard for shard, tensors in shards.items() for tensor in tensors}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def planned(folder: Path, tensors: Mapping[str, Tensor]) -> Plan:
    return plan(find_checkpoint(write(folder / "made.safetensors", tensors)))


def only(folder: Path, tensors: Mapping[str, Tensor]) -> Matrix:
    (matrix,) = planned(folder, tensors).matrices
    return matrix
