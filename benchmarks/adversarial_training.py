"""What adversarial training buys on Fashion-MNIST: PGD training, TRADES, fast and universal training.

    OMP_NUM_THREADS=1 python -m benchmarks.adversarial_training [pgd] [trades] [fast] [universal] [--validate] [--tiny]

All four parts by default. One net of `nets.fashion_cnn_recipe` (335 k parameters) per row, one seed.

pgd: plain and PGD training of the same length, all 54 000 training images, l_inf 8/255. trades: rising beta on 12 000
images. fast: the same radius, then a run made to fail, with its watch looking on, and PGD training as its control.
universal: the fooling rate of one perturbation for all images, fitted against each net.

Settings were tuned on the validation split, which `--validate` scores on instead of the test split; the test split was
scored once. `--tiny`: a few hundred images and no file written, to see that it runs. Otherwise the tables go to
docs/results/adversarial-training.md, under its own text.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.nets import FASHION, fashion_cnn_recipe
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.fooling import universal_perturbation
from brittle.evaluation.intervals import paired_drop_interval, wilson
from brittle.models.recipe import build
from brittle.results.training import Tracked
from brittle.threats import LinfBall
from brittle.training.adversarial import (
    TRADES,
    FastTraining,
    OverfittingWatch,
    PGDTraining,
    UniversalTraining,
    overfitting,
)
from brittle.training.engine import train
from brittle.training.objective import CrossEntropy
from brittle.training.plan import Dynamics, Plan
from brittle.training.protocols import Objective

THREAT = LinfBall(8 / 255)
LONG = Dynamics(epochs=4, batch_size=128, learning_rate=2e-3, schedule="one-cycle")
SHORT = replace(LONG, epochs=6)
ATTACKS = (APGD(50), APGD(50, loss="dlr"))
BETAS = (0.5, 2.0, 6.0, 18.0)
# What makes the single step fail here: few images, a large radius, a long step, a rate that does not fall.
FAILING, FAILING_STEP, FAILING_SAMPLES = LinfBall(0.2), 3.0, 1000
FAILING_RUN = Dynamics(epochs=36, batch_size=128, learning_rate=3e-3, schedule="constant")
CHANCE = 0.1  # ten classes of equal size
UNIVERSAL = LinfBall(0.1)
OUT = Path(__file__).parents[1] / "docs" / "results" / "adversarial-training.md"


@dataclass(frozen=True)
class Run:
    """How much of everything a benchmark takes: `scored` names the split that is scored."""

    scored: str = "test"
    samples: int = 1000
    share: float = 1.0
    epochs: float = 1.0

    def data(self, samples: int | None = None) -> tuple[Split, Split, Split]:
        """Training images (a simple random part), validation images, images to score."""
        data = load_data(FASHION)
        whole = data.split("train")
        wanted = len(whole) if samples is None else samples
        part = whole.take(max(200, round(self.share * wanted)), 0)
        return part, data.split("validation"), data.split(self.scored).take(self.samples, 1)

    def dynamics(self, how: Dynamics) -> Dynamics:
        return replace(how, epochs=max(1, round(self.epochs * how.epochs)))


@dataclass(frozen=True)
class Row:
    """A trained net: which scored images it gets right, clean and attacked, and what it took."""

    name: str
    model: nn.Module
    right: tuple[list[bool], list[bool]]
    gradients: float
    cpu: float

    def cells(self) -> list[str]:
        shares = [f"{share(mask)} {interval(mask)}" for mask in self.right]
        return [self.name, *shares, f"{self.gradients / 1e6:.2f} M", f"{self.cpu:.0f} s"]


def share(mask: list[bool]) -> str:
    return f"{100 * sum(mask) / len(mask):.1f} %"


def interval(mask: list[bool]) -> str:
    low, high = wilson(sum(mask), len(mask))
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def trained(name: str, objective: Objective, how: Dynamics, data: tuple[Split, Split, Split]) -> Row:
    """Train the net and score it at `THREAT`; the time is that of the training alone."""
    net = build(fashion_cnn_recipe(), seed=0)
    start = time.process_time()
    done = train(net, data[0], data[1], Plan(how, objective), seed=0)
    cpu = time.process_time() - start
    clean, _ = clean_right(net, data[2].x, data[2].y, 500)
    left = attack_survivors(net, data[2].x, data[2].y, THREAT, ATTACKS, batch_size=500, seed=0)
    row = Row(name, net, (clean.tolist(), left.survived.tolist()), done.history.rows[-1].gradients, cpu)
    print(f"  {' | '.join(row.cells())}", flush=True)
    return row


HEAD = ["Objective", "Clean", "Auto-PGD", "Gradients", "CPU"]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def pgd(run: Run) -> list[str]:
    """Acceptance: at least 20 points more Auto-PGD accuracy than plain training of the same length, in 10 minutes."""
    data, how = run.data(), run.dynamics(LONG)
    rows = [
        trained("plain", CrossEntropy(), how, data),
        trained("PGD, half of each batch", PGDTraining(THREAT, steps=5, step_size=0.5), how, data),
        trained("PGD, every sample", PGDTraining(THREAT, steps=5, step_size=0.5, share=1.0), how, data),
    ]
    lines = ["", "## PGD training", "", about(run, data, how), *table(HEAD, [row.cells() for row in rows]), ""]
    for row in rows[1:]:
        gain = 100 * (sum(row.right[1]) - sum(rows[0].right[1])) / len(row.right[1])
        low, high = paired_drop_interval(row.right[1], rows[0].right[1], seed=0)
        met = "met" if gain >= 20 and row.cpu <= 600 else "MISSED"
        lines.append(
            f"{row.name}: {gain:+.1f} points of Auto-PGD accuracy over plain [{low:+.1f}, {high:+.1f}] in "
            f"{row.cpu / 60:.1f} CPU minutes. At least 20 points within 10 minutes: {met}."
        )
        lines.append("")
    return lines


def trades(run: Run) -> list[str]:
    data, how = run.data(12_000), run.dynamics(SHORT)
    rows = [trained("plain", CrossEntropy(), how, data)]
    rows += [trained(f"TRADES, beta {b:g}", TRADES(THREAT, b, steps=5, step_size=0.5), how, data) for b in BETAS]
    lost = paired_drop_interval(rows[1].right[0], rows[-1].right[0], seed=0)
    gained = paired_drop_interval(rows[-1].right[1], rows[1].right[1], seed=0)
    return [
        "",
        "## TRADES",
        "",
        about(run, data, how),
        *table(HEAD, [row.cells() for row in rows]),
        "",
        f"From beta {BETAS[0]:g} to {BETAS[-1]:g}, paired 95 % intervals: clean accuracy lost {lost[0]:.1f} to "
        f"{lost[1]:.1f} points, Auto-PGD accuracy gained {gained[0]:.1f} to {gained[1]:.1f} points.",
    ]


def fast(run: Run) -> list[str]:
    data, how = run.data(12_000), run.dynamics(SHORT)
    sound = [
        trained("fast", FastTraining(THREAT), how, data),
        trained("PGD, every sample", PGDTraining(THREAT, steps=5, step_size=0.5, share=1.0), how, data),
    ]
    lines = ["", "## Fast training", "", about(run, data, how), *table(HEAD, [row.cells() for row in sound]), ""]
    few, long = run.data(FAILING_SAMPLES), run.dynamics(FAILING_RUN)
    lines.append(
        f"Made to fail: {len(few[0])} images, l_inf {FAILING.epsilon:g}, a step of {FAILING_STEP:g} epsilon, "
        f"{long.epochs} epochs at a constant rate, looked at on 200 validation images, beside 5-step PGD training."
    )
    watched = [
        ("fast", watch(FastTraining(FAILING, FAILING_STEP), few, long)),
        ("PGD", watch(PGDTraining(FAILING, steps=5, step_size=0.5, share=1.0), few, long)),
    ]
    head = ["Training", "Epoch", "Clean", "One step", "10 steps", "Watch"]
    lines += table(head, [[name, *cells] for name, (shown, _) in watched for cells in shown])
    lines += ["", *(f"{name}: {seen}." for name, (_, seen) in watched)]
    return lines


def watch(objective: Objective, data: tuple[Split, Split, Split], how: Dynamics) -> tuple[list[list[str]], str]:
    """Rows of what the watch saw, and its finding over all of them."""
    track = OverfittingWatch(FAILING, every=max(1, how.epochs // 6), step_size=FAILING_STEP, stop=False)
    done = train(build(fashion_cnn_recipe(), seed=0), *data[:2], Plan(how, objective), seed=0, track=track)
    seen: list[tuple[int, Tracked]] = [(row.epoch, row.tracked) for row in done.history.rows if row.tracked]
    shown = []
    for epoch, tracked in seen:
        shares = [f"{100 * value:.0f} %" for value in (tracked.clean, *(a.accuracy for a in tracked.attacked))]
        shown.append([f"{epoch}", *shares, overfitting([tracked], CHANCE).verdict])
    found = overfitting([tracked for _, tracked in seen], CHANCE)
    return shown, f"{found.verdict}: {found.advice}"


def universal(run: Run) -> list[str]:
    data, how = run.data(12_000), run.dynamics(SHORT)
    rows = []
    for name, objective in (("plain", CrossEntropy()), ("universal", UniversalTraining(UNIVERSAL))):
        row = trained(name, objective, how, data)
        _, found = universal_perturbation(row.model, data[2], UNIVERSAL, seed=0)
        low, high = (100 * end for end in found.interval95)
        fooled = f"{100 * found.fooling_rate:.1f} % [{low:.1f}, {high:.1f}]"
        rows.append([*row.cells(), fooled, f"{100 * found.control:.1f} %"])
    note = (
        f"Fooling rates of one perturbation at l_inf {UNIVERSAL.epsilon:g}, fitted against each net on half of these "
        "images and scored on the others, beside random signs."
    )
    head = [*HEAD, "Fooled by one perturbation", "By random signs"]
    return ["", "## Universal training", "", about(run, data, how), note, *table(head, rows)]


def about(run: Run, data: tuple[Split, Split, Split], how: Dynamics) -> str:
    return (
        f"{len(data[0])} training images, {how.epochs} epochs, scored on {len(data[2])} {run.scored} images at l_inf "
        f"{THREAT.epsilon * 255:.0f}/255."
    )


PARTS: dict[str, Callable[[Run], list[str]]] = {"pgd": pgd, "trades": trades, "fast": fast, "universal": universal}


def main(arguments: list[str]) -> None:
    options, chosen = {a for a in arguments if a.startswith("--")}, [a for a in arguments if not a.startswith("--")]
    if options - {"--validate", "--tiny"} or set(chosen) - set(PARTS):
        sys.exit(f"usage: adversarial_training [{'] ['.join(PARTS)}] [--validate] [--tiny]")
    run = Run(scored="validation" if "--validate" in options else "test")
    if "--tiny" in options:
        run = replace(run, samples=60, share=0.02, epochs=0.2)
    start = time.process_time()
    lines = [line for name in (chosen or PARTS) for line in PARTS[name](run)]
    print("\n".join(lines))
    minutes = (time.process_time() - start) / 60
    print(f"\n{minutes:.1f} CPU minutes")
    if options or chosen:  # only a whole run may replace the page's tables
        return
    head = OUT.read_text(encoding="utf-8").split("<!-- tables -->")[0].rstrip("\n")
    tail = f"Made by `python -m benchmarks.adversarial_training` in {minutes:.0f} CPU minutes."
    OUT.write_text("\n".join([head, "", "<!-- tables -->", *lines, "", tail, ""]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
