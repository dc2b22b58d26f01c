"""Networks per hour: nets of one architecture trained one by one, at once, and as `train_many` chooses.

    OMP_NUM_THREADS=1 python -m benchmarks.ensembles [--members 32] [--epochs 5] [--repeats 3] [--device cpu] [NAME ...]

Digits, batches of 64, AdamW, a cosine schedule; members differ in seed and learning rate. Seconds are CPU seconds of
this process (wall seconds on a GPU), the fewest of the repeats, which take the three ways in turn. `rule` is the size
of stack that `train_many` chooses; its column counts everything, the trial of the stack included. `far` is the largest
difference between weights trained alone and at once, float32: rounding, carried on by the steps. Ratios above 1 are
gains over one by one; they depend on the machine's caches and on what else runs there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from brittle.data.load import load_data
from brittle.models.recipe import Recipe, build
from brittle.threats import LinfBall
from brittle.training.adversarial import PGDTraining
from brittle.training.engine import Trained
from brittle.training.ensemble import at_once_by_rule, train_many
from brittle.training.objective import CrossEntropy
from brittle.training.plan import Dynamics, Plan, Weighted
from brittle.training.protocols import Objective

BATCH = 64


@dataclass(frozen=True)
class Case:
    """An architecture and what is trained besides cross-entropy; `goal` is the least gain asked of `train_many`."""

    recipe: Recipe
    objective: Objective = field(default_factory=CrossEntropy)
    penalties: tuple[Weighted, ...] = ()
    goal: float | None = None


def _mlp(width: int) -> Recipe:
    return Recipe("mlp", (1, 8, 8), 10, {"width": width, "depth": 2})


def _cnn(channels: int) -> Recipe:
    return Recipe("cnn", (1, 8, 8), 10, {"channels": [channels, channels], "fc": 32})


CASES: dict[str, Case] = {
    "mlp-16": Case(_mlp(16)),
    "mlp-64": Case(_mlp(64), goal=2.5),
    "mlp-128": Case(_mlp(128)),
    "mlp-256": Case(_mlp(256), goal=1.0),
    "mlp-512": Case(_mlp(512)),
    "cnn-8": Case(_cnn(8)),
    "cnn-32": Case(_cnn(32)),
    "mlp-64-nuclear": Case(_mlp(64), penalties=(Weighted("nuclear", 0.01),)),
    "mlp-64-pgd": Case(_mlp(64), PGDTraining(LinfBall(0.1), steps=5)),
}


def seconds(work: Callable[[], tuple[Trained, ...]], device: str) -> tuple[float, tuple[Trained, ...]]:
    """CPU seconds, or wall seconds until the GPU is done."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start, result


def far(first: tuple[Trained, ...], second: tuple[Trained, ...]) -> float:
    """The largest difference between two trainings' weights."""
    pairs = [
        (p, q)
        for a, b in zip(first, second, strict=True)
        for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True)
    ]
    return max(float((p - q).detach().abs().max()) for p, q in pairs)


def measure(name: str, case: Case, members: int, epochs: int, repeats: int, device: str) -> str:
    """One row of the table."""
    data = load_data("digits")
    parts = data.split("train"), data.split("validation")
    dynamics = [Dynamics(epochs, BATCH, learning_rate=1e-3 * (1 + m % 4)) for m in range(members)]
    plans = [Plan(each, case.objective, case.penalties) for each in dynamics]
    rule = min(members, at_once_by_rule(build(case.recipe).to(device), parts[0].x[:1], BATCH))
    ways: dict[str, int | None] = {"one by one": 1, "at once": members, "rule": None}
    best: dict[str, float] = dict.fromkeys(ways, float("inf"))
    nets: dict[str, tuple[Trained, ...]] = {}
    for _ in range(repeats):
        for way, at_once in ways.items():
            work = partial(train_many, case.recipe, *parts, plans, range(members), at_once=at_once, device=device)
            taken, nets[way] = seconds(work, device)
            best[way] = min(best[way], taken)
    alone, together, chosen = best.values()
    goal = ""
    if case.goal is not None and device == "cpu":
        goal = f"   goal {case.goal:g}: {'met' if alone / chosen >= case.goal else 'MISSED'}"
    return (
        f"{name:16}{alone:11.2f}{together:9.2f}{alone / together:7.2f}{rule:7}{chosen:9.2f}{alone / chosen:7.2f}"
        f"{3600 * members / chosen:14,.0f}{far(nets['one by one'], nets['at once']):10.1e}{goal}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", default=list(CASES), metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    print(f"{given.members} nets, {given.epochs} epochs, {torch.get_num_threads()} thread(s), {given.device}")
    measure("mlp-16", CASES["mlp-16"], 2, 1, 1, given.device)  # the first run loads what later ones find loaded
    print(
        f"{'':16}{'one by one':>11}{'at once':>9}{'gain':>7}{'rule':>7}{'seconds':>9}{'gain':>7}"
        f"{'nets per hour':>14}{'far':>10}"
    )
    for name in given.names:
        row = measure(name, CASES[name], given.members, given.epochs, given.repeats, given.device)
        print(row, flush=True)


if __name__ == "__main__":
    main()
