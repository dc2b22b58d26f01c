"""`brittle audit --sarif`: written beside the gate, never over another result, and not for structure alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brittle.cli.app import run

QUICK = ("--samples", "40", "--effort", "quick", "--norm", "linf", "--epsilon", "0.05")


def test_a_failed_gate_writes_its_findings(work: Path) -> None:
    arguments = ["audit", "child.safetensors", "--against", "base.safetensors", *QUICK]
    assert run([*arguments, "--max-drop", "2", "--sarif", "b.sarif"]) == 1
    (log,) = json.loads(Path("b.sarif").read_text())["runs"]
    results = [r for r in log["results"] if r["ruleId"] == "brittle/robust-accuracy-drop"]
    assert [(r["level"], r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) for r in results] == [
        ("error", "child.safetensors")
    ]
    assert "--sarif b.sarif" in log["invocations"][0]["commandLine"]


@pytest.mark.parametrize("other", ["--html", "--json", "--junit"])
def test_two_results_in_one_file_are_refused(work: Path, other: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "child.safetensors", *QUICK, "--sarif", "out.x", other, "out.x"]) == 2
    assert "--junit and --sarif different names" in capsys.readouterr().err
    assert not Path("out.x").exists()


def test_a_place_that_cannot_be_written_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "child.safetensors", *QUICK, "--sarif", "nowhere/b.sarif"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_structure_alone_has_no_findings_to_write(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"fc.weight": torch.ones(3, 4)}, "bare.safetensors")
    assert run(["audit", "bare.safetensors", "--sarif", "b.sarif"]) == 2
    assert "leave --sarif out" in capsys.readouterr().err
