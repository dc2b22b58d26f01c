"""What a few input directions explain of real attacks, and how that goes with compressibility. Writes docs/results.

    OMP_NUM_THREADS=1 python -m benchmarks.explained [--seeds COUNT]        (fewer seeds: a trial)

For each net of the family: the leading directions of the representation map on training samples, then attacks on
test samples: in full, confined to the leading m directions, confined to m random ones, with equal settings. The full
run rewrites the tables in directions.md and directions.csv; with fewer seeds they are printed only.
"""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.family import FAMILY, digits_family, hidden_effective_rank
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from brittle.data.load import load_data
from brittle.directions.network import network_directions
from brittle.sensitivity.explained_interval import damage_share
from brittle.sensitivity.explained_outcomes import Outcomes, confined_outcomes
from brittle.threats import EVERYWHERE, PIXELS, ball

SEEDS = (0, 1, 2)
FIT, K, SIX = 300, 16, 6
MS = (1, 2, 4, 6, 8, 16)
BOXES = {"lifted": EVERYWHERE, "pixels": PIXELS}
# (l_2 radius, box, numbers of directions)
CASES = ((0.5, "lifted", MS), (0.5, "pixels", MS), (0.2, "lifted", (SIX,)))
STEPS, RESTARTS, DRAWS = 50, 2, 2
# What has the dense net's scale, so that structure alone differs.
HELD = ("frobenius x1", "nuclear 0.01", "nuclear 0.1", "nuclear 0.3")
# Members below which a bootstrap over them says nothing.
FEWEST = 8
# The page's tables stand between these.
MARK, END = "<!-- tables -->", "<!-- end of tables -->"
OUT = Path(__file__).parents[1] / "docs" / "results"

Shares = tuple[float, tuple[float, float]] | None


@dataclass(frozen=True)
class Row:
    """One member of the family, seeds pooled, in one case: shares with 95 % intervals over samples."""

    net: str
    effective_rank: float
    epsilon: float
    box: str
    clean: float
    attacked: float
    m: int
    share: float
    low: float
    high: float
    random_share: float
    random_low: float
    random_high: float


def measure(model: nn.Module, name: str, seed: int) -> dict[tuple[float, str], Outcomes]:
    """The outcomes of every case on the test split."""
    data = load_data("digits")
    train, test = data.split("train").take(FIT, 0), data.split("test")
    k = min(K, FAMILY[name].rank or K)  # the representation of a net of rank r moves along r input directions
    _, directions = network_directions(
        model, train.x, train.y, test.x[:8], test.y[:8], map="representation", k=k, batch_size=FIT, seed=seed
    )
    return {
        (epsilon, box): confined_outcomes(
            model,
            test.x,
            test.y,
            directions,
            ball("l2", epsilon),
            box=BOXES[box],
            ms=[m for m in ms if m <= k],
            steps=STEPS,
            restarts=RESTARTS,
            draws=DRAWS,
            seed=seed,
            batch_size=len(test),
        )
        for epsilon, box, ms in CASES
    }


def rows_of(name: str, found: list[dict[tuple[float, str], Outcomes]], rank: float) -> list[Row]:
    """One row for each case and m; a sample's outcomes in all seeds stay together in the bootstrap."""
    rows = []
    for epsilon, box in found[0]:
        cases = [outcomes[epsilon, box] for outcomes in found]
        full = np.stack([c.full for c in cases])
        clean = float(np.mean([c.right.mean() for c in cases]))
        for m in cases[0].confined:
            share = damage_share(np.stack([c.confined[m] for c in cases]), full, 0)
            random = damage_share(
                np.concatenate([c.random[m] for c in cases]), np.repeat(full, len(cases[0].random[m]), axis=0), 0
            )
            assert share is not None
            assert random is not None
            rows.append(
                Row(
                    name,
                    rank,
                    epsilon,
                    box,
                    clean,
                    clean - float(full.mean()),
                    m,
                    share[0],
                    *share[1],
                    random[0],
                    *random[1],
                )
            )
    return rows


def trend(ranks: NDArray[np.float64], shares: NDArray[np.float64]) -> str:
    """Spearman between effective rank and share over nets, (members, seeds) each, and a 95 % interval.

    The bootstrap draws members, whose seeds stay together as they differ little; a few members have no interval.
    """
    value = float(spearmanr(ranks.ravel(), shares.ravel()).statistic)
    if len(ranks) < FEWEST:
        return f"{value:+.2f}"
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(ranks), size=len(ranks)) for _ in range(2000)]
    values = [spearmanr(ranks[i].ravel(), shares[i].ravel()).statistic for i in drawn if len(set(i)) > 1]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def report(
    rows: list[Row],
    ranks: dict[str, list[float]],
    shares: dict[tuple[float, str, int], dict[str, list[float]]],
    seconds: float,
) -> str:
    """The tables in the documentation."""
    lines = []
    for epsilon, box, ms in CASES:
        case = [r for r in rows if (r.epsilon, r.box) == (epsilon, box)]
        room = "pixel box lifted" if box == "lifted" else "pixels in [0, 1]"
        lines += [f"### l_2 {epsilon:g}, {room}", ""]
        curve = len(ms) > 1
        heads = [f"m = {m}" for m in ms] + ["random 6"] + ["m for 90 %"] * curve
        lines.append("| net | effective rank | clean | attacked | " + " | ".join(heads) + " |")
        lines.append("|" + "---|" * (len(heads) + 4))
        for name in dict.fromkeys(r.net for r in case):
            mine = {r.m: r for r in case if r.net == name}
            any_row, six = next(iter(mine.values())), mine[SIX]
            cells = [f"{mine[m].share:.3f} [{mine[m].low:.2f}, {mine[m].high:.2f}]" if m in mine else "–" for m in ms]
            reached = next((str(m) for m in ms if m in mine and mine[m].share >= 0.9), f"> {max(mine)}")
            lines.append(
                f"| {name} | {any_row.effective_rank:.1f} | {any_row.clean:.3f} | {any_row.attacked:.3f} | "
                + " | ".join(cells)
                + f" | {six.random_share:.3f} [{six.random_low:.2f}, {six.random_high:.2f}] |"
                + f" {reached} |" * curve
            )
        lines.append("")
    lines += ["### Trend with compressibility", "", "| case | m | nets | n | Spearman |", "|---|---|---|---|---|"]
    for (epsilon, box, m), by_net in shares.items():
        for group, names in (("all", tuple(by_net)), ("scale held at the dense net's", HELD)):
            names = tuple(n for n in names if n in by_net)
            found = trend(np.array([ranks[n] for n in names]), np.array([by_net[n] for n in names]))
            n = sum(len(by_net[name]) for name in names)
            lines.append(f"| l_2 {epsilon:g}, {box} | {m} | {group} | {n} | {found} |")
    return "\n".join([*lines, "", f"{seconds / 60:.1f} CPU minutes.", ""])


def main(arguments: list[str]) -> None:
    seeds = SEEDS[: int(arguments[1])] if arguments[:1] == ["--seeds"] else SEEDS
    start = time.process_time()
    nets = {seed: digits_family(seed) for seed in seeds}
    rows: list[Row] = []
    ranks: dict[str, list[float]] = {}
    shares: dict[tuple[float, str, int], dict[str, list[float]]] = {}
    for name in FAMILY:
        found = [measure(nets[seed][name], name, seed) for seed in seeds]
        ranks[name] = [hidden_effective_rank(nets[seed][name]) for seed in seeds]
        rows += rows_of(name, found, float(np.mean(ranks[name])))
        for epsilon, box, ms in CASES:
            for m in (m for m in ms if m <= SIX):
                each = [outcomes[epsilon, box] for outcomes in found]
                values = [float(o.confined[m].sum() / o.full.sum()) for o in each]
                shares.setdefault((epsilon, box, m), {})[name] = values
        print(f"{name}: {time.process_time() - start:.0f} CPU s", file=sys.stderr, flush=True)
    text = report(rows, ranks, shares, time.process_time() - start)
    print(text)
    if seeds != SEEDS:
        return
    page = OUT / "directions.md"
    before, mark, after = page.read_text(encoding="utf-8").partition(MARK)
    _, end, rest = after.partition(END)
    page.write_text(f"{before}{mark}\n\n{text}\n{end}{rest}", encoding="utf-8")
    with (OUT / "directions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__dataclass_fields__)
        writer.writerows([f"{v:.6g}" if isinstance(v, float) else v for v in vars(row).values()] for row in rows)


if __name__ == "__main__":
    main(sys.argv[1:])
