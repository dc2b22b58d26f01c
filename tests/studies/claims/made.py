"""Made answers to the trials of a plan: no training, a world with a known effect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import numpy as np

from brittle.results.study import TrialRow
from brittle.studies.claims.claim import CellPlan
from brittle.studies.keys import trial_key
from brittle.studies.presets import ClaimsPlan
from brittle.studies.trial import Trial


def steps(cells: Iterable[CellPlan]) -> dict[str, int]:
    """How far up its ladder a trial stands, by source, scale and task, from the cells that keep their order."""
    return {
        _name(level.trial): i
        for cell in cells
        if not cell.ordered
        for i, level in enumerate(cell.levels)
        if level.minus is None
    }


def answers(
    plan: ClaimsPlan, world: Callable[[Trial, float, np.random.Generator], dict[str, float]]
) -> dict[str, TrialRow]:
    """Rows of all trials: `world` gives the measures of a trial, its step in [0, 1], and a generator of its own."""
    step = steps(cell for cells in plan.cells for cell in cells)
    rows = {}
    for trial in plan.trials:
        key = trial_key(trial)
        rng = np.random.default_rng(int(hashlib.sha256(trial.model_dump_json().encode()).hexdigest()[:12], 16))
        measures = world(trial, step.get(_name(trial), 0) / 5, rng)
        rows[key] = TrialRow(key, trial.model_dump(mode="json"), measures, 1.0)
    return rows


def world(effect: float) -> Callable[[Trial, float, np.random.Generator], dict[str, float]]:
    """Where compressibility rises along every ladder, and everything else follows it by `effect`."""

    def measures(trial: Trial, step: float, rng: np.random.Generator) -> dict[str, float]:
        def noise() -> float:
            return float(rng.normal(0, 0.004))

        numbers = {
            "clean": 0.95 + noise(),
            "structure.neuron": 0.2 + 0.5 * step + noise(),
            "structure.spectral": 0.3 + 0.5 * step + noise(),
            "structure.parameters": 1000.0,
        }
        for threat in trial.threats:
            robust = 0.7 - effect * step + noise()
            for before in ("", "transfer."):
                numbers[f"{before}robust.{threat.key}"] = robust
                numbers[f"{before}ratio.{threat.key}"] = robust / 0.95
            numbers[f"alignment.{threat.key}"] = 0.4 + effect * step + noise()
            numbers[f"amplification.{threat.key}"] = 0.2 + effect * step + noise()
            numbers[f"amplification_noise.{threat.key}"] = 0.1 + noise()
            numbers[f"universal.{threat.key}"] = 0.2 + effect * step + noise()
            numbers[f"universal_random.{threat.key}"] = 0.1 + noise()
            numbers[f"universal_lift.{threat.key}"] = 0.1 + effect * step + noise()
            numbers[f"log_gap.{threat.key}"] = -1 + effect * step + noise()
        for norm in ("linf", "l2"):
            for part in ("slope", "lhat", "theorem", "structure", "scale", "alignment"):
                numbers[f"bound.{norm}.log_{part}"] = 2 + step + noise()
        return numbers

    return measures


def _name(trial: Trial) -> str:
    fields = trial.model_dump(mode="json", exclude={"seed", "measures", "threats"})
    return str(fields)
