"""Changes between two audits, by closed forms."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
import torch

from brittle.checkpoints.audit import audit_checkpoint
from brittle.checkpoints.compare import CAUTION, compare_structure
from brittle.checkpoints.options import CheckpointOptions
from brittle.results.structure import StructureAudit
from tests.checkpoints.made import normal, with_spectrum, write

FLAT, HALF = torch.ones(20), torch.cat([torch.ones(10), torch.zeros(10)])


def audit(tmp_path: Path, name: str, tensors: dict[str, torch.Tensor], side: int = 2048) -> StructureAudit:
    return audit_checkpoint(write(tmp_path / f"{name}.safetensors", tensors), CheckpointOptions(exact_side=side))


def test_scale_and_structure_come_apart(tmp_path: Path) -> None:
    flat = with_spectrum(30, 20, FLAT, seed=0)
    base = {"a.weight": flat, "b.weight": flat[:29], "c.weight": flat[:28], "gone.weight": flat[:5]}
    child = {
        "a.weight": 3 * flat,
        "b.weight": flat[:29],
        "c.weight": with_spectrum(30, 20, HALF, seed=0)[:, :20],
        "new.weight": flat[:6],
    }
    child["c.weight"], base["c.weight"] = with_spectrum(30, 20, HALF, seed=1), with_spectrum(30, 20, FLAT, seed=1)
    found = compare_structure(audit(tmp_path, "base", base), audit(tmp_path, "child", child))
    assert [change.name for change in found.changes] == ["a", "c", "b"]  # 1.1, 0.69, 0
    assert found.unmatched == ("gone", "new")
    assert found.caution == CAUTION
    assert found.base.name == "base.safetensors"
    scaled, cut, same = found.changes
    assert scaled.log_scale == pytest.approx(log(3))
    assert scaled.log_structure is not None
    assert (scaled.log_structure.status, scaled.log_structure.interval95) == ("exact", None)
    assert scaled.log_structure.value == pytest.approx(0, abs=1e-9)
    assert scaled.effective_rank_share.value == pytest.approx(0, abs=1e-9)
    # half of 20 equal values: the Frobenius norm falls by sqrt 2, the largest value stays
    assert cut.log_scale == pytest.approx(-log(2) / 2)
    assert cut.log_structure is not None
    assert cut.log_structure.value == pytest.approx(log(2) / 2)
    assert cut.effective_rank_share.value == pytest.approx(-0.5, abs=1e-5)
    assert cut.epsilon.value == pytest.approx(0.8 - 0.9, abs=1e-5)
    assert same.log_scale == 0
    assert same.epsilon.value == 0


def test_intervals_of_both_add_up(tmp_path: Path) -> None:
    base = audit(tmp_path, "base", {"a.weight": normal(40, 30, seed=0)}, side=0)
    child = audit(tmp_path, "child", {"a.weight": normal(40, 25, seed=1)}, side=0)
    (change,) = compare_structure(base, child).changes
    assert (change.shape_base, change.shape) == ((40, 30), (40, 25))
    assert change.epsilon.status == "estimate"
    before, after = base.matrices[0].spectral.epsilon, child.matrices[0].spectral.epsilon
    assert before.interval95 is not None
    assert after.interval95 is not None
    assert change.epsilon.interval95 == (
        after.interval95[0] - before.interval95[1],
        after.interval95[1] - before.interval95[0],
    )
    assert change.log_structure is not None
    assert change.log_structure.status == "estimate"
    low, high = change.log_structure.interval95 or (0, 0)
    assert low <= change.log_structure.value <= high


def test_a_zero_matrix_has_no_logarithm(tmp_path: Path) -> None:
    base = audit(tmp_path, "base", {"a.weight": normal(4, 3, seed=0)})
    child = audit(tmp_path, "child", {"a.weight": torch.zeros(4, 3)})
    (change,) = compare_structure(base, child).changes
    assert change.log_scale is None
    assert change.log_structure is None
