"""The claims' two sizes: which settings, and with them which trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from brittle.errors import UsageError
from brittle.studies.claims.claim import CellPlan, Claim
from brittle.studies.claims.full import full_settings
from brittle.studies.claims.merge import merged, trials_of_cells
from brittle.studies.claims.quick import quick_settings
from brittle.studies.claims.setting import Setting
from brittle.studies.claims.table import CLAIMS
from brittle.studies.trial import Trial

NAME: Final = "claims"
QUESTION: Final = "Which of the paper's claims about compressibility and robustness hold on these networks?"


@dataclass(frozen=True)
class Preset:
    """A size of the claims' study.

    Attributes:
        description: for people, one line.
        cpu_hours: what it takes on one core, estimated from single trials.
        needs_data: whether it reads data sets from a folder.
        settings: the tasks and networks, given that folder.
    """

    description: str
    cpu_hours: float
    needs_data: bool
    settings: Callable[[Path], tuple[Setting, ...]]


@dataclass(frozen=True)
class ClaimsPlan:
    """What is to be run, and what is asked of it.

    Attributes:
        name: of the study.
        question: for people.
        preset: its name in `PRESETS`.
        trials: all of them, each once, whole cells first.
        claims: in the order of `CLAIMS`.
        cells: those of each claim, as many as claims.
    """

    name: str
    question: str
    preset: str
    trials: tuple[Trial, ...]
    claims: tuple[Claim, ...]
    cells: tuple[tuple[CellPlan, ...], ...]


PRESETS: Final[dict[str, Preset]] = {
    "quick": Preset("digits and made clusters, small MLPs; no data to fetch", 0.3, False, lambda _: quick_settings()),
    "full": Preset(
        "as quick, and MNIST, Fashion-MNIST and CIFAR-10 with MLP, CNN, ResNet and ViT", 11.0, True, full_settings
    ),
}


def claims_plan(preset: str, data_dir: Path | None = None) -> ClaimsPlan:
    """The study of all claims in one preset.

    Args:
        preset: a name in `PRESETS`.
        data_dir: the folder with the folders mnist, fashion_mnist and cifar10_jpeg, for a preset that needs them.

    Raises:
        UsageError: no such preset, or one that needs data without a folder.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}: expected one of {', '.join(PRESETS)}")
    chosen = PRESETS[preset]
    if chosen.needs_data and data_dir is None:
        raise UsageError(f"the preset {preset} needs a folder with its data sets: give one, or take the preset quick")
    settings = chosen.settings(Path() if data_dir is None else data_dir)
    claims = tuple(CLAIMS.values())
    # One setting after the other: a run that is stopped has whole ones to tell about.
    by_setting = [[claim.cells((setting,)) for claim in claims] for setting in settings]
    flat = merged([cell for parts in by_setting for part in parts for cell in part])
    rest = iter(flat)
    full = [[tuple(next(rest) for _ in part) for part in parts] for parts in by_setting]
    cells = tuple(tuple(cell for parts in full for cell in parts[i]) for i in range(len(claims)))
    return ClaimsPlan(NAME, QUESTION, preset, trials_of_cells(flat), claims, cells)
