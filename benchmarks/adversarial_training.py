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
LONG = Dynamics(epochs=6, batch_size=128, learning_rate=2e-3, schedule="one-cycle")
SHORT = replace(LONG, epochs=5)
ATTACKS = (APGD(50), APGD(50, loss="dlr"))
BETAS = (0.5, 2.0, 6.0, 18.0)
# What makes the single step fail here: few images, a large radius, a long step, a rate that does not fall.
FAILING, FAILING_STEP = LinfBall(0.3), 1.25
FAILING_RUN = Dynamics(epochs=24, batch_size=128, learning_rate=2e-3, schedule="constant")
FAILING_SAMPLES = 2000
UNIVERSAL = LinfBall(0.1)
OUT = Path(__file__).parents[1] / "docs" / "results" / "adversarial-training.md"
