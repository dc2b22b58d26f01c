"""Does an encoder's compressibility go along to another task? Digits to MNIST; writes docs/results/transfer.md.

    OMP_NUM_THREADS=1 python -m benchmarks.transfer [--quick]        (--quick: one seed, few epochs, writes nothing)

Encoders 64-100-100 are trained on the digits of scikit-learn: dense, of low rank, and with a nuclear-norm penalty at
held Frobenius norms. Then a linear head is fitted on MNIST images brought to the same 8 x 8 pixels, on the frozen
encoder; and the whole net is fine-tuned for a few epochs. Encoders, strengths and radii were fixed before the run.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from benchmarks.nets import MNIST
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from brittle.data.load import load_data
from brittle.data.split import Split, check_split
from brittle.evaluation.accuracy import attack_survivors
from brittle.evaluation.intervals import two_level_interval
from brittle.models.recipe import Recipe, build
from brittle.sensitivity.probe import ATTACKS
from brittle.threats import Ball, ball
from brittle.training.engine import train
from brittle.training.plan import Dynamics, Plan, Weighted
from brittle.training.tracking import Tracker
from brittle.training.transfer import transfer

SEEDS, EPOCHS, TUNED = (0, 1, 2), 40, 5
TRAIN, VALIDATION, TEST = 4000, 500, 500
THREATS = (ball("linf", 0.05), ball("linf", 0.1), ball("l2", 0.5))
OUT = Path(__file__).parents[1] / "docs" / "results" / "transfer.md"
MARK = "<!-- tables -->"
# Name, rank of both hidden layers, strength of the nuclear norm, whether their Frobenius norms are held.
ENCODERS: tuple[tuple[str, int | None, float, bool], ...] = (
    ("dense", None, 0.0, False),
    ("rank 16", 16, 0.0, False),
    ("rank 8", 8, 0.0, False),
    ("rank 4", 4, 0.0, False),
    ("held scale", None, 0.0, True),
    ("held, nuclear 0.003", None, 0.003, True),
    ("held, nuclear 0.01", None, 0.01, True),
    ("held, nuclear 0.03", None, 0.03, True),
)


@dataclass(frozen=True)
class Row:
    """One encoder: means over its hidden layers, and outcomes (n,) by task, then by threat ("": clean)."""

    effective_rank: float
    residual: float
    norm: float
    right: dict[str, dict[str, NDArray[np.bool_]]]


def small(split: Split, n: int) -> Split:
    """n MNIST images as 8 x 8 pixels: the central 24 x 24, means of 3 x 3."""
    part = split.take(n, 0)
    return check_split(F.avg_pool2d(part.x[:, :, 2:26, 2:26], 3).clamp(0, 1), part.y, 10, "mnist, 8 x 8")


def encoder(rank: int | None, strength: float, held: bool, seed: int, epochs: int) -> nn.Module:
    data = load_data("digits")
    options: dict[str, object] = {"width": 100, "depth": 2}
    if rank is not None:
        options["ranks"] = rank
    net = build(Recipe("mlp", data.input_shape, 10, options), seed=seed)
    penalties = (Weighted("nuclear", strength),) if strength else ()
    plan = Plan(Dynamics(epochs=epochs, learning_rate=2e-3), penalties=penalties, hold_scale=held)
    return train(net, data.split("train"), data.split("validation"), plan, seed=seed).model


def outcomes(model: nn.Module, split: Split) -> dict[str, NDArray[np.bool_]]:
    found = {}
    for threat in THREATS:
        left = attack_survivors(model, split.x, split.y, threat, ATTACKS, batch_size=500, seed=0)
        found[""] = left.right.numpy()
        found[key(threat)] = left.survived.numpy()
    return found


def key(threat: Ball) -> str:
    return f"{threat.norm}@{threat.epsilon:g}"


def measured(net: nn.Module, parts: dict[str, Split], seed: int, tuned: int) -> Row:
    seen = Tracker(samples=10)(net, parts["source"], seed=0)
    hidden = [layer for layer in seen.layers if not layer.name.startswith("head")]
    frozen = transfer(net, parts["train"], parts["validation"], classes=10, seed=seed)
    plan = Plan(Dynamics(epochs=tuned, learning_rate=3e-4))
    free = transfer(net, parts["train"], parts["validation"], classes=10, plan=plan, seed=seed)
    return Row(
        effective_rank=float(np.mean([layer.effective_rank for layer in hidden])),
        residual=float(np.mean([layer.spectral_epsilon for layer in hidden])),
        norm=float(np.mean([layer.frobenius for layer in hidden])),
        right={
            "digits, the encoder's own task": outcomes(net, parts["source"]),
            "MNIST, frozen encoder": outcomes(frozen, parts["test"]),
            "MNIST, fine-tuned": outcomes(free, parts["test"]),
        },
    )


def cell(rows: list[Row], base: list[Row], task: str, threat: str) -> str:
    """Mean accuracy over seeds, and the difference to the dense encoder in points, positive when better."""
    own = np.stack([row.right[task][threat] for row in rows])
    text = f"{100 * own.mean():.1f} %"
    if rows is base:
        return text
    other = np.stack([row.right[task][threat] for row in base])
    gain = 100 * (own.mean() - other.mean())
    if len(rows) < 2:
        return f"{text}, {gain:+.1f}"
    low, high = two_level_interval(other, own, seed=0)
    return f"{text}, {gain:+.1f} [{-high:+.1f}, {-low:+.1f}]"


def show(table: dict[str, list[Row]], seeds: int) -> list[str]:
    base = table["dense"]
    keys = list(next(iter(base[0].right.values())))
    lines: list[str] = []
    for task in base[0].right:
        n = len(base[0].right[task][""])
        lines += ["", f"## {task}", "", f"n = {n} test images, {seeds} seeds.", ""]
        lines.append(f"| Encoder | Effective rank | Residual | Frobenius | Clean | {' | '.join(keys[1:])} |")
        lines.append("|---" * (4 + len(keys)) + "|")
        for name, rows in table.items():
            facts = [np.mean([getattr(row, what) for row in rows]) for what in ("effective_rank", "residual", "norm")]
            numbers = f"{facts[0]:.1f} | {facts[1]:.2f} | {facts[2]:.1f}"
            lines.append(f"| {name} | {numbers} | {' | '.join(cell(rows, base, task, k) for k in keys)} |")
        ranks = [np.mean([row.effective_rank for row in rows]) for rows in table.values()]
        found = []
        for k in keys:
            means = [np.mean([row.right[task][k] for row in rows]) for rows in table.values()]
            found.append(f"{spearmanr(ranks, means).statistic:+.2f} ({k or 'clean'})")
        lines += [
            "",
            f"Rank correlation of effective rank and accuracy over {len(ranks)} encoders: {', '.join(found)}.",
        ]
    return lines


def main() -> None:
    quick = "--quick" in sys.argv
    started = time.process_time()
    seeds, epochs, test = (SEEDS[:1], 3, 60) if quick else (SEEDS, EPOCHS, TEST)
    mnist = load_data(MNIST)
    parts = {
        "source": load_data("digits").split("test").take(test, 0),
        "train": small(mnist.split("train"), 500 if quick else TRAIN),
        "validation": small(mnist.split("validation"), VALIDATION),
        "test": small(mnist.split("test"), test),
    }
    table: dict[str, list[Row]] = {}
    for name, rank, strength, held in ENCODERS:
        table[name] = [
            measured(encoder(rank, strength, held, seed, epochs), parts, seed, 1 if quick else TUNED) for seed in seeds
        ]
        print(f"{name}: {time.process_time() - started:.0f} CPU s", flush=True)
    lines = show(table, len(seeds))
    print("\n".join(lines))
    if not quick:
        page = OUT.read_text(encoding="utf-8").split(MARK)[0] if OUT.exists() else "# Transfer\n\n"
        OUT.write_text(page + MARK + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
