from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from brittle.errors import UsageError
from brittle.studies.keys import trial_key
from brittle.studies.presets import PRESETS, claims_plan


def test_trials_are_those_of_the_cells_each_once() -> None:
    plan = claims_plan("quick")
    assert len(plan.cells) == len(plan.claims) == 12
    wanted = {
        trial.model_copy(update={"seed": seed})
        for cells in plan.cells
        for cell in cells
        for level in cell.levels
        for trial in level.trials
        for seed in cell.seeds
    }
    assert set(plan.trials) == wanted
    assert len({trial_key(trial) for trial in plan.trials}) == len(plan.trials)
    assert claims_plan("quick") == plan


def test_settings_come_one_after_the_other() -> None:
    data = [trial.data for trial in claims_plan("full", Path("/data")).trials]
    changes = [i for i in range(1, len(data)) if data[i] != data[i - 1]]
    # Digits with its transfer task in between, and one change to each other setting with its own.
    assert len(changes) <= 3 * len(set(data))


def test_quick_is_part_of_full_under_the_same_keys() -> None:
    quick, full = claims_plan("quick"), claims_plan("full", Path("/data"))
    assert set(quick.trials) <= set(full.trials)


def test_unknown_presets_and_missing_folders_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown preset 'huge': expected one of quick, full"):
        claims_plan("huge")
    with pytest.raises(UsageError, match="the preset full needs a folder with its data sets"):
        claims_plan("full")


def test_every_preset_says_what_it_costs() -> None:
    assert all(preset.cpu_hours > 0 and preset.description for preset in PRESETS.values())


def test_planning_needs_no_torch() -> None:
    code = "import sys; from brittle.studies.answer import answer_claims; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
