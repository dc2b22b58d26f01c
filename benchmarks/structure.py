"""CPU seconds of the layer table against WeightWatcher and plain singular values, one thread, random weights.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 python -m benchmarks.structure [NET ...] [--out FILE.csv]

The nets are torchvision's, by default resnet18, resnet50 and vit_b_16.

Every method measures each net once in one process; imports and a small net come first and do not count. `brittle` is
`brittle.structure(model)` without an input size: compressibility, ranks, norms, both sides of Theorem 3.1 and heads of
every weight matrix. `WeightWatcher` is `analyze()` with its defaults; `WeightWatcher, no fit` is its `get_ESD` for each
of its layers, which computes the singular values and no power law. WeightWatcher leaves the packed weights of torch's
attention out, and takes a 3 x 3 convolution as nine matrices. `svdvals` decomposes the matrices that brittle measures.
Singular values from 1e-5 of the largest on are compared with those of the float64 decomposition. Needs torchvision and
weightwatcher.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any, TypeVar

import torch
from tests.vision import need_torchvision
from torch import Tensor, nn

import brittle
from brittle.compressibility.rank import FLOOR, spectrum
from brittle.operators.network import read_network

NETS = ("resnet18", "resnet50", "vit_b_16")
FIELDS = ("net", "method", "cpu_seconds", "of_weightwatcher", "matrices", "parameters")
T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of this process, and what the work returned."""
    start = process_time()
    result = work()
    return process_time() - start, result


def analyzed(model: nn.Module) -> Any:
    """WeightWatcher's table with its defaults."""
    import weightwatcher

    with contextlib.redirect_stdout(io.StringIO()):
        return weightwatcher.WeightWatcher(model=model).analyze()


def spectra(model: nn.Module, layers: list[int]) -> None:
    """WeightWatcher's eigenvalues of each of its layers."""
    import weightwatcher

    with contextlib.redirect_stdout(io.StringIO()):
        watcher = weightwatcher.WeightWatcher(model=model)
        for layer in layers:
            watcher.get_ESD(layer=layer)


def compared(matrices: list[Tensor], truths: list[Tensor]) -> tuple[float, int, bool]:
    """Largest relative difference of resolved values, how many are not resolved, and whether those are flagged."""
    worst, small, flagged = 0.0, 0, True
    for w, truth in zip(matrices, truths, strict=True):
        ours = spectrum(w)
        resolved = truth >= FLOOR * truth[0]
        worst = max(worst, float(((ours.sigma - truth).abs() / truth)[resolved].max()))
        small += int((~resolved).sum())
        flagged = flagged and (ours.below_floor == 0 or abs(ours.below_floor - int((~resolved).sum())) <= 1)
    return worst, small, flagged


def rows_of(name: str) -> list[dict[str, object]]:
    """All methods on one net."""
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    total = sum(p.numel() for p in model.parameters())
    ours, table = timed(lambda: brittle.structure(model))
    theirs, found = timed(lambda: analyzed(model))
    quick, _ = timed(lambda: spectra(model, [int(i) for i in found.layer_id]))
    matrices = [layer.view.matrix() for layer in read_network(model, None).layers]
    single, _ = timed(lambda: [torch.linalg.svdvals(w.float()) for w in matrices])
    double, truths = timed(lambda: [torch.linalg.svdvals(w) for w in matrices])
    worst, small, flagged = compared(matrices, truths)
    print(
        f"{name}: largest relative difference {worst:.1e}; {small} values below the floor, flagged: {flagged}",
        flush=True,
    )
    covered = int((found.N * found.M * found.rf).sum())  # rf: how many matrices it takes a convolution apart into
    rows = [
        ("brittle", ours, len(table), sum(row.parameters for row in table)),
        ("WeightWatcher", theirs, len(found), covered),
        ("WeightWatcher, no fit", quick, len(found), covered),
        ("svdvals float32", single, len(matrices), total),
        ("svdvals float64", double, len(matrices), total),
    ]
    return [
        dict(zip(FIELDS, (name, method, round(cpu, 2), round(cpu / theirs, 3), count, size), strict=True))
        for method, cpu, count, size in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("nets", nargs="*", default=list(NETS))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    need_torchvision()
    small = nn.Sequential(nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 60))
    analyzed(small)
    logging.disable(logging.CRITICAL)
    brittle.structure(small)
    rows = []
    for name in asked.nets:
        rows += rows_of(name)
        for row in rows[-5:]:
            print("  ".join(f"{row[field]!s:>22}" for field in FIELDS), flush=True)
    if asked.out is not None:
        with asked.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
