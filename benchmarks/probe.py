"""Does the spectrum cause brittleness? The causal probe on digits and Fashion-MNIST nets; writes docs/results/probe.md.

    OMP_NUM_THREADS=1 python -m benchmarks.probe [--quick]        (--quick: one seed, few samples, writes nothing)

Hidden weights get another spectrum, or other row norms, at the same Frobenius norms; the head is fitted again; clean
and robust accuracy are measured. The strengths and radii were fixed before the first full run. Differences to the
row "as it is" are paired: the same samples, the same seed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.nets import FASHION, light_cnn
from torch import nn

from brittle.compression.factorise import factorise
from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.intervals import paired_drop_interval, two_level_interval
from brittle.models.recipe import Recipe, build
from brittle.sensitivity.probe import ATTACKS, ROWS, SPECTRUM, Intervention, Probed, Tuning, probe_rows, threat_key
from brittle.threats import Ball, ball
from brittle.training.loop import Budget, fit

SEEDS, RANK = (0, 1, 2), 6
TRAINING, TUNING = Budget(epochs=60), Budget(epochs=5, learning_rate=3e-4)
DIGITS_THREATS = (ball("linf", 0.05), ball("linf", 0.1), ball("l2", 0.5))
FASHION_THREATS = (ball("linf", 0.1), ball("l2", 1.0))
FASHION_TRAIN, FASHION_TEST = 5000, 300
OUT = Path(__file__).parents[1] / "docs" / "results" / "probe.md"


@dataclass(frozen=True)
class Table:
    """Rows of one net for each seed, in the interventions' order; `own` are accuracies with its own head."""

    name: str
    repeats: list[tuple[Probed, ...]]
    own: dict[str, float]


def digits_nets(seed: int) -> tuple[nn.Module, nn.Module]:
    """The dense MLP 64-100-100-10 and its child of rank 6, fine-tuned."""
    data = load_data("digits")
    train, validation = data.split("train"), data.split("validation")
    dense = build(Recipe("mlp", data.input_shape, 10, {"width": 100, "depth": 2}), seed=seed)
    fit(dense, train, validation, TRAINING, seed=seed)
    low = factorise(dense, {"fc1": RANK, "fc2": RANK})
    return dense, fit(low, train, validation, TRAINING, seed=seed)


def rows(
    model: nn.Module,
    train: Split,
    test: Split,
    threats: Sequence[Ball],
    table: Sequence[Intervention],
    tuning: Tuning | None,
) -> tuple[Probed, ...]:
    return probe_rows(
        model,
        train,
        test.x,
        test.y,
        threats,
        interventions=table,
        attacks=ATTACKS,
        penalty=1e-4,
        tuning=tuning,
        batch_size=500,
        seed=0,
    )


def own_head(nets: Sequence[nn.Module], test: Split, threats: Sequence[Ball]) -> dict[str, float]:
    """Mean accuracies of the nets as they came, clean (key "") and attacked."""
    found: dict[str, list[float]] = {"": [], **{threat_key(threat): [] for threat in threats}}
    for net in nets:
        found[""].append(float(clean_right(net, test.x, test.y, 500)[0].double().mean()))
        for threat in threats:
            left = attack_survivors(net, test.x, test.y, threat, ATTACKS, batch_size=500, seed=0)
            found[threat_key(threat)].append(left.accuracy)
    return {key: float(np.mean(values)) for key, values in found.items()}


def run(quick: bool) -> list[Table]:
    data = load_data("digits")
    train, validation, test = (data.split(part) for part in ("train", "validation", "test"))
    test = test.take(100, 0) if quick else test
    nets = [digits_nets(seed) for seed in (SEEDS[:1] if quick else SEEDS)]
    tables = []
    for which, name in enumerate(("digits MLP, dense", f"digits MLP, rank {RANK}")):
        own = own_head([pair[which] for pair in nets], test, DIGITS_THREATS)
        for table, what in ((SPECTRUM, "singular values"), (ROWS, "row norms")):
            repeats = [rows(pair[which], train, test, DIGITS_THREATS, table, None) for pair in nets]
            tables.append(Table(f"{name}: {what}", repeats, own))
        tuned = [
            rows(pair[which], train, test, DIGITS_THREATS, SPECTRUM, Tuning(validation, TUNING, seed))
            for seed, pair in enumerate(nets)
        ]
        tables.append(Table(f"{name}: singular values, then {TUNING.epochs} epochs of fine-tuning", tuned, own))
    fashion = load_data(FASHION)
    part = fashion.split("train").take(1000 if quick else FASHION_TRAIN, 0)
    test = fashion.split("test").take(60 if quick else FASHION_TEST, 0)
    cnn = light_cnn(0)
    own = own_head([cnn], test, FASHION_THREATS)
    for table, what in ((SPECTRUM, "singular values"), (ROWS, "row norms")):
        found = rows(cnn, part, test, FASHION_THREATS, table, None)
        tables.append(Table(f"light CNN, Fashion-MNIST: {what}", [found], own))
    return tables


def show(table: Table) -> list[str]:
    """A Markdown table: means over seeds, and paired differences to the first row with intervals."""
    first = table.repeats[0][0].probe
    keys = list(first.robust)
    seeds = f", {len(table.repeats)} seeds" if len(table.repeats) > 1 else ", one net"
    lines = ["", f"## {table.name}", "", f"n = {first.n} test images{seeds}.", ""]
    lines.append(f"| Hidden weights | Stable rank | Clean | {' | '.join(keys)} |")
    lines.append("|---" * (3 + len(keys)) + "|")
    lines.append(f"| the net with its own head | | {' | '.join(f'{100 * v:.1f} %' for v in table.own.values())} |")
    for index in range(len(table.repeats[0])):
        picked = [repeat[index] for repeat in table.repeats]
        probe = picked[0].probe
        name = probe.change if index == 0 else f"{probe.change} {probe.strength:g}"
        rank = np.mean([row.probe.stable_rank for row in picked])
        cells = [_cell(table, index, "")] + [_cell(table, index, key) for key in keys]
        lines.append(f"| {name} | {rank:.1f} | {' | '.join(cells)} |")
    return lines


def _cell(table: Table, index: int, key: str) -> str:
    """Accuracy in percent; after the first row also its difference in points, positive when better."""
    base, here = (
        np.stack([(repeat[i].survived[key] if key else repeat[i].right).numpy() for repeat in table.repeats])
        for i in (0, index)
    )
    share = f"{100 * here.mean():.1f} %"
    if index == 0:
        return share
    # Intervals of drops from here to the base are gains over the base.
    low, high = (
        two_level_interval(here, base, seed=0) if len(base) > 1 else paired_drop_interval(here[0], base[0], seed=0)
    )
    return f"{share}, {100 * (here.mean() - base.mean()):+.1f} [{low:+.1f}, {high:+.1f}]"


def main(arguments: list[str]) -> None:
    quick = "--quick" in arguments
    light_cnn(0)  # trained once and kept: not part of the probe's time
    start = time.process_time()
    lines = [line for table in run(quick) for line in show(table)]
    print("\n".join(lines))
    minutes = (time.process_time() - start) / 60
    print(f"\n{minutes:.1f} CPU minutes")
    if quick:
        return
    text = OUT.read_text(encoding="utf-8") if OUT.exists() else ""
    head = text.split("<!-- tables -->")[0].rstrip("\n") or "# The causal probe"
    tail = f"Made by `python -m benchmarks.probe` in {minutes:.1f} CPU minutes."
    OUT.write_text("\n".join([head, "", "<!-- tables -->", *lines, "", tail, ""]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
