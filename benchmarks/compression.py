"""Compression of a Fashion-MNIST net that stays robust: ours beside its rivals. Fills docs/results/compression.

    OMP_NUM_THREADS=1 python -m benchmarks.compression [--rows N] [--only TEXT] [--validate]

Runs the missing rows one by one, about two CPU minutes each; stop it at any time, the next call goes on. Each row is a
line of docs/results/compression/rows.csv and a file of which test images stood up, for paired intervals. `--validate`
scores 1,000 validation images instead, prints, and writes nothing. The page is written from the rows by
`python -m benchmarks.compression_page`.

Scored: all 10,000 test images, clean and under two runs of Auto-PGD (cross-entropy, DLR) with 20 steps each, the second
one on what stood up to the first, an upper bound of the robust accuracy. What breaks at one radius counts as broken at
the larger ones.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from benchmarks.compression_parents import PARENTS
from benchmarks.compression_rows import METHODS, Row, rows
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.compression.cost import parameters
from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.files import replacing
from brittle.threats import LinfBall
from brittle.training.recovery.recover import recover

OUT = Path(__file__).parents[1] / "docs" / "results" / "compression"
TABLE = OUT / "rows.csv"
ATTACKS = (APGD(20), APGD(20, loss="dlr"))
FIELDS = ("parent", "method", "factor", "seed", "parameters", "clean", "2/255", "4/255", "8/255")
MORE = ("unrecovered clean", "gradients", "learning rate", "best epoch", "CPU s", "plan")


def right(model: nn.Module, split: Split, radii: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Which samples are right, clean and at each radius in 1/255."""
    clean, _ = clean_right(model, split.x, split.y, 500)
    found, left = {"clean": clean.numpy()}, clean.nonzero()[:, 0]
    for radius in radii:
        part = Split(split.x[left], split.y[left])
        stood = attack_survivors(
            model, part.x, part.y, LinfBall(radius / 255), ATTACKS, batch_size=500, seed=0, indices=left
        ).survived
        left = left[stood]
        mask = torch.zeros(len(clean), dtype=torch.bool)
        mask[left] = True
        found[f"{radius}/255"] = mask.numpy()
    return found


def run(row: Row, scored: Split, train: Split, validation: Split) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """The row's line, and which samples are right."""
    of = PARENTS[row.parent]
    start, model = time.process_time(), of.model()
    line: dict[str, object] = {"parent": row.parent, "method": row.method, "factor": row.factor, "seed": row.seed}
    if row.method != "parent":
        made = METHODS[row.method](row.parent, of, model, row.factor, train, row.seed)
        before, _ = clean_right(made.child, scored.x, scored.y, 500)
        back = recover(made.child, model, train, validation, made.how, seed=row.seed)
        model = back.model
        line |= {"unrecovered clean": f"{float(before.double().mean()):.4f}", "gradients": f"{back.spent:.3f}"}
        line |= {"learning rate": f"{back.learning_rate:g}", "best epoch": back.best_epoch, "plan": made.plan}
    masks = right(model, scored, of.radii)
    line |= {"parameters": parameters(model), **{name: f"{mask.mean():.4f}" for name, mask in masks.items()}}
    return line | {"CPU s": f"{time.process_time() - start:.0f}"}, masks


def done() -> dict[tuple[str, str, str, str], dict[str, str]]:
    """The lines there are, by parent, method, factor and seed."""
    if not TABLE.exists():
        return {}
    with TABLE.open(newline="") as file:
        return {(r["parent"], r["method"], r["factor"], r["seed"]): r for r in csv.DictReader(file)}


def keep(row: Row, line: dict[str, object], masks: dict[str, np.ndarray]) -> None:
    """The masks first, then the whole table anew: a kill between them leaves the row missing, never half there."""
    OUT.mkdir(parents=True, exist_ok=True)
    with replacing(OUT / f"{row.key}.npz") as temporary, Path(temporary).open("wb") as file:
        np.savez_compressed(file, **{name: np.packbits(mask) for name, mask in masks.items()})
    lines = [*done().values(), line]
    with replacing(TABLE) as temporary, Path(temporary).open("w", newline="") as file:
        writer = csv.DictWriter(file, (*FIELDS, *MORE), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--only", default="")
    parser.add_argument("--validate", action="store_true")
    asked = parser.parse_args()
    there = {} if asked.validate else done()
    missing = [r for r in rows() if (r.parent, r.method, str(r.factor), str(r.seed)) not in there]
    for row in [row for row in missing if asked.only in row.key][: asked.rows]:
        data = load_data(PARENTS[row.parent].data)
        train, validation = data.split("train"), data.split("validation")
        scored = validation.take(1000, 1) if asked.validate else data.split("test")
        line, masks = run(row, scored, train, validation)
        if not asked.validate:
            keep(row, line, masks)
        print("  ".join(f"{line.get(name, '')}" for name in (*FIELDS, *MORE)), flush=True)


if __name__ == "__main__":
    main()
