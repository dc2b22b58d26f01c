"""Compressibility without a change of scale, on an MLP for Fashion-MNIST: docs/results/penalties.md.

    OMP_NUM_THREADS=1 python -m benchmarks.scale [--quick]        (--quick: one seed, one epoch, few samples)

Scale-invariant group lasso and nuclear norm over strengths, and low-rank layers over ranks. After every step each
hidden layer is rescaled to the Frobenius norm with which the dense net of that seed starts. Strengths and ranks were
fixed before the first full run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from benchmarks.nets import FASHION
from torch import Tensor

from brittle.compressibility.rank import effective_rank, singular_values
from brittle.compressibility.residual import count, residual
from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.models.recipe import Recipe, build
from brittle.training.engine import train
from brittle.training.matrices import chosen_matrices
from brittle.training.plan import Dynamics, Plan, Weighted

SEEDS, SAMPLES, EPOCHS, WIDTH = (0, 1, 2), 6000, 6, 128
SHARE = 0.1  # k of the residuals


def rows(weight: Tensor) -> float:
    """Residual of the row l_1 norms beyond their largest tenth: smaller is more compressible."""
    norms = weight.abs().sum(1)
    return residual(norms, count(SHARE, len(norms)))


def values(weight: Tensor) -> float:
    """Residual of the singular values beyond their largest tenth."""
    sigma = singular_values(weight)
    return residual(sigma, count(SHARE, len(sigma)))


def rank(weight: Tensor) -> float:
    """Effective rank: below a rank of a tenth the residual is 0, whatever the rank."""
    return effective_rank(singular_values(weight))


@dataclass(frozen=True)
class Question:
    """`settings` from weak to strong; what must fall with them is column `column` of the table."""

    name: str
    settings: tuple[float, ...]
    column: int


COLUMNS: dict[str, Callable[[Tensor], float]] = {
    "Row residual": rows,
    "Spectral residual": values,
    "Effective rank": rank,
}
QUESTIONS = (
    Question("group_lasso_si", (0.003, 0.01, 0.03, 0.1, 0.3), 0),
    Question("nuclear_si", (0.003, 0.01, 0.03, 0.1, 0.3), 1),
    Question("rank", (64, 32, 16, 8, 4), 2),
)


@dataclass(frozen=True)
class Outcome:
    """Measures as in `COLUMNS`, means over the hidden layers; `drift`: the largest relative change of a held norm."""

    measures: tuple[float, ...]
    accuracy: float
    drift: float


def outcome(question: Question | None, setting: float, data: Sequence[Split], seed: int, epochs: int) -> Outcome:
    learn, validation, test = data
    low = question is not None and question.name == "rank"
    options: dict[str, object] = {"width": WIDTH, "depth": 2, **({"ranks": int(setting)} if low else {})}
    shape = tuple(learn.x.shape[1:])
    net = build(Recipe("mlp", shape, 10, options), seed=seed)
    dense = build(Recipe("mlp", shape, 10, {"width": WIDTH, "depth": 2}), seed=seed)
    held = [matrix.frobenius() for matrix in chosen_matrices(dense, None)]
    for matrix, norm in zip(chosen_matrices(net, None), held, strict=True):
        matrix.rescale(norm / matrix.frobenius())
    added = () if question is None or low else (Weighted(question.name, setting),)
    plan = Plan(Dynamics(epochs=epochs, learning_rate=2e-3), penalties=added, hold_scale=True)
    train(net, learn, validation, plan, seed=seed)
    matrices = chosen_matrices(net, None)
    found = [matrix.tensor().detach() for matrix in matrices]
    with torch.no_grad():
        right = net(test.x).argmax(1) == test.y
    return Outcome(
        measures=tuple(sum(map(measure, found)) / len(found) for measure in COLUMNS.values()),
        accuracy=float(right.double().mean()),
        drift=max(abs(m.frobenius() / norm - 1) for m, norm in zip(matrices, held, strict=True)),
    )


def falls(measured: list[float]) -> bool:
    return all(later < earlier for earlier, later in pairwise(measured))


def line(question: Question | None, setting: float, seeds: list[Outcome]) -> str:
    """Means over the seeds, and behind them half of the range."""
    columns = list(zip(*((*one.measures, 100 * one.accuracy) for one in seeds), strict=True))
    cells = [f"{sum(c) / len(c):.3g} ± {(max(c) - min(c)) / 2:.1g}" for c in columns]
    name, shown = ("nothing", "") if question is None else (question.name, f"{setting:g}")
    return f"| {name} | {shown} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    started = time.process_time()
    fashion = load_data(FASHION)
    seeds, epochs = (SEEDS[:1], 1) if quick else (SEEDS, EPOCHS)
    sizes = (500, 500, 500) if quick else (SAMPLES, 2000, None)
    data = [fashion.split(part).take(n, 0) for part, n in zip(("train", "validation", "test"), sizes, strict=True)]
    print(f"| Added | Strength or rank | {' | '.join(COLUMNS)} | Clean, % |\n" + "|---" * (len(COLUMNS) + 3) + "|")
    drift = 0.0
    verdicts = []
    for question in (None, *QUESTIONS):
        found: list[list[Outcome]] = []
        for setting in (0.0,) if question is None else question.settings:
            found.append([outcome(question, setting, data, seed, epochs) for seed in seeds])
            drift = max(drift, *(one.drift for one in found[-1]))
            print(line(question, setting, found[-1]), flush=True)
        if question is not None:
            paths = [[one.measures[question.column] for one in path] for path in zip(*found, strict=True)]
            told = f"{question.name}: {list(COLUMNS)[question.column].lower()}"
            verdicts.append(f"{told} falls at every step in {sum(map(falls, paths))} of {len(paths)} seeds")
    print("\n" + "\n".join(verdicts))
    print(f"largest relative change of a held norm: {drift:.1e}")
    print(f"{(time.process_time() - started) / 60:.1f} CPU minutes")


if __name__ == "__main__":
    main()
