"""Are verdicts right as often as they say? Made outcomes, no training. Prints the table of docs/concepts/verdicts.md.

    OMP_NUM_THREADS=1 python -m benchmarks.calibration [STUDIES]        (default 1000)

A study is 12 claims; a claim has robust accuracy and the ratio robust / clean as targets, in one to three cells of 5
seeds x 5 levels that share their dense networks. Accuracies are binomial counts of 500 test samples about a truth per
network: a level's mean, plus an effect of the seed, plus noise within the seed that the scenario shapes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from brittle.results.study import ClaimVerdict
from brittle.studies.statistics.criterion import Criterion, Target
from brittle.studies.statistics.table import Array, CellTable, ratio_in_points
from brittle.studies.verdict import ClaimCase, decide

SEEDS, LEVELS, SAMPLES, CLAIMS = 5, 5, 500, 12
LOW_RANK = (46.0, 16.0, 7.0, 4.0, 4.0)  # robust accuracy at l_inf 0.1 of low-rank MLPs on digits, dense first
NO_EFFECT = (46.0,) * LEVELS
CLEAN = 95.0
CRITERION = Criterion(
    (
        Target("robust", "robust accuracy", -1, 2.0, limit=0.0),
        Target("ratio", "the ratio robust / clean", -1, 2.0, limit=0.0),
    )
)


# Noise of the networks after the dense one, in points, as (seeds, levels - 1); `dense` is (seeds, 1), the dense one's.
Noise = Callable[[np.random.Generator, Array], Array]


def independent(rng: np.random.Generator, dense: Array) -> Array:
    """Networks of a seed share the seed's effect only."""
    return rng.normal(0, 2, (len(dense), LEVELS - 1))


def walk(rng: np.random.Generator, dense: Array) -> Array:
    """Each level starts from the one before, as in iterative pruning: neighbours are alike, ends drift apart."""
    return dense + rng.normal(0, 2, (len(dense), LEVELS - 1)).cumsum(1)


def growing(rng: np.random.Generator, dense: Array) -> Array:
    """The stronger, the noisier."""
    return rng.normal(0, 1, (len(dense), LEVELS - 1)) * np.linspace(1, 5, LEVELS - 1)


def heavy(rng: np.random.Generator, dense: Array) -> Array:
    """Now and then a network fails to train well."""
    return 1.5 * rng.standard_t(2, (len(dense), LEVELS - 1))


NOISES: dict[str, Noise] = {
    "independent networks": independent,
    "each level from the one before": walk,
    "noise grows with strength": growing,
    "heavy tails": heavy,
}


def made_cells(
    rng: np.random.Generator, means: tuple[float, ...], noise: Noise, cells: int
) -> list[tuple[Array, Array]]:
    """(robust, clean) accuracies in points, (seeds, levels) each, of cells that share seeds and dense networks."""
    seed_effect, dense = rng.normal(0, 4, (SEEDS, 1)), rng.normal(0, 2, (SEEDS, 1))
    made: list[tuple[Array, Array]] = []
    for _ in range(cells):
        truth = np.array(means) + seed_effect + np.hstack([dense, noise(rng, dense)])
        clean = rng.binomial(SAMPLES, np.clip(CLEAN + rng.normal(0, 0.5, truth.shape), 0, 100) / 100)
        robust = np.minimum(rng.binomial(SAMPLES, np.clip(truth, 0.5, 99.5) / 100), clean)
        if made:  # the same dense networks, measured once
            robust[:, 0], clean[:, 0] = (np.rint(table[:, 0] * SAMPLES / 100) for table in made[0])
        made.append((100 * robust / SAMPLES, 100 * clean / SAMPLES))
    return made


def made_claim(rng: np.random.Generator, name: str, means: tuple[float, ...], noise: Noise, cells: int) -> ClaimCase:
    """A claim of that many cells; its predictor rises with strength."""
    tables = []
    for i, (robust, clean) in enumerate(made_cells(rng, means, noise, cells)):
        x = np.linspace(0, 1, LEVELS) + rng.normal(0, 0.05, (SEEDS, LEVELS))
        outcomes = {"robust": robust, "ratio": ratio_in_points(robust, clean)}
        levels = tuple(f"level {level}" for level in range(LEVELS))
        tables.append(CellTable(f"cell {i}", levels, tuple(range(SEEDS)), "compressibility", x, outcomes, pool=name))
    return ClaimCase(name, name, "", CRITERION, tuple(tables))


@dataclass(frozen=True)
class Rates:
    """Shares over studies: of claims without an effect that got a positive verdict, alone and in the family; of raw
    p <= 0.05; of studies whose one true effect was found (NaN without one)."""

    false_claims: float
    false_raw: float
    family: float
    found: float


def simulate(noise: Noise, effect: bool, studies: int, seed: int, resamples: int = 999) -> Rates:
    """Verdicts on made studies. With `effect`, the first claim (one cell) has that of low rank, the other 11 none."""
    rng = np.random.default_rng(seed)
    wrong, raw, family, found = [], [], [], []
    for study in range(studies):
        cases = [
            made_claim(rng, f"C{i + 1}", LOW_RANK if effect and i == 0 else NO_EFFECT, noise, 1 + i % 3)
            for i in range(CLAIMS)
        ]
        verdicts = decide(cases, seed=study, resamples=resamples, bootstrap=2)
        null = verdicts[effect:]
        wrong += [_positive(verdict) for verdict in null]
        raw += [verdict.p <= 0.05 for verdict in null]
        family.append(any(_positive(verdict) for verdict in null))
        found.append(verdicts[0].outcome == "supported")
    return Rates(
        float(np.mean(wrong)), float(np.mean(raw)), float(np.mean(family)), float(np.mean(found)) if effect else np.nan
    )


def _positive(verdict: ClaimVerdict) -> bool:
    return verdict.outcome in ("supported", "contradicted")


def main(studies: int) -> None:
    """Print one line per scenario."""
    print("| within a seed | false, per claim | raw p <= 0.05 | false, per study | effect found |")
    print("|---|---|---|---|---|")
    start = time.process_time()
    for i, (name, noise) in enumerate(NOISES.items()):
        none = simulate(noise, effect=False, studies=studies, seed=i)
        there = simulate(noise, effect=True, studies=(studies + 1) // 2, seed=100 + i)
        cells = (none.false_claims, none.false_raw, none.family, there.found)
        print(f"| {name} | " + " | ".join(f"{100 * share:.1f} %" for share in cells) + " |", flush=True)
    seconds = time.process_time() - start
    print(f"\n{studies} studies a row, half as many with an effect; {seconds:.0f} CPU s", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
