"""`brittle attack` as a user types it: results, images, resuming after a kill, and refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brittle.cli.app import run
from brittle.results.attack import AttackResult
from brittle.results.serialise import read_json

BASE, CHILD = "base.safetensors", "child.safetensors"
FEW = ("--samples", "40", "--epsilon", "0.05")
Captured = pytest.CaptureFixture[str]


def result_in(path: str | Path) -> AttackResult:
    return AttackResult.from_dict(read_json(path))


def attacked(*arguments: str) -> AttackResult:
    assert run(["attack", BASE, *FEW, *arguments, "--json", "a.json"]) == 0
    return result_in("a.json")


def test_attacks_at_a_radius_form_one_cascade(work: Path, capsys: Captured) -> None:
    result = attacked("--attack", "fgsm", "--attack", "apgd")
    (row,) = result.attempts
    assert [step.attack for step in row.steps] == ["fgsm", "apgd-ce-50"]
    assert row.steps[0].accuracy >= row.steps[1].accuracy == row.attacked
    assert row.interval95[0] <= row.attacked <= row.interval95[1]
    assert result.outcomes.right["linf@0.05"].count("1") == round(40 * row.attacked)
    assert not any((result.radii, result.universal, result.explained, result.transfer))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "apgd-ce-50" in printed.err
    assert "robust accuracy is at most this" in printed.err


def test_json_on_stdout_is_all_there_is_on_stdout(work: Path, capsys: Captured) -> None:
    assert run(["attack", BASE, *FEW, "--attack", "fgsm", "--json", "-"]) == 0
    assert AttackResult.from_dict(json.loads(capsys.readouterr().out)).attacks == ("fgsm",)


def test_images_break_the_net_that_they_were_made_for_and_nothing_else_is_written(work: Path) -> None:
    result = attacked("--attack", "apgd", "--out", "x.npz")
    images = np.load("x.npz")
    assert images["x_test"].shape == (40, 1, 8, 8)
    assert images["y_test"].tolist() == list(result.outcomes.labels)
    assert run(["audit", BASE, "--data", "npz:x.npz", "--effort", "quick", "--norm", "linf", "--json", "b.json"]) == 0
    clean = read_json("b.json")["robustness"][0]["clean"]
    assert clean == pytest.approx(result.attempts[0].attacked)
    assert {p.name for p in work.iterdir()} == {BASE, CHILD, "a.json", "b.json", "x.npz"}


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_minimal_radii_in_every_norm(work: Path, norm: str) -> None:
    result = attacked("--attack", "deepfool", "--norm", norm)
    (curve,) = result.radii
    assert (curve.norm, curve.n, len(curve.radii)) == (norm, 40, 40)
    assert curve.quantiles["0.5"] is not None
    assert curve.quantiles["0.5"] > 0


def test_universal_with_a_target_directions_and_a_surrogate(work: Path, capsys: Captured) -> None:
    result = attacked(
        "--attack", "universal", "--attack", "directional", "--fit", "60", "--directions", "2", "--target", "3",
        "--surrogate", CHILD,
    )  # fmt: skip
    (universal,) = result.universal
    assert (universal.target, universal.held_out, universal.fitted) == ("3", True, 60)
    assert {e.map for e in result.explained} == set(result.directions) == {"representation", "margin"}
    assert all(len(s.directions) == 2 for s in result.directions.values())
    assert {(t.kind, t.source, t.target) for t in result.transfer} == {
        (kind, source, BASE) for kind in ("examples", "universal") for source in (BASE, CHILD)
    }
    shown = capsys.readouterr().err
    for heading in ("One perturbation for all inputs", "along m directions", "made on another net"):
        assert heading in shown


def test_a_surrogate_of_the_same_name_is_told_apart(work: Path) -> None:
    assert {t.source for t in attacked("--attack", "fgsm", "--surrogate", BASE).transfer} == {
        BASE,
        f"{BASE} (surrogate)",
    }


def test_time_up_is_3_and_marked(work: Path, capsys: Captured) -> None:
    assert run(["attack", BASE, *FEW, "--attack", "apgd", "--time-limit", "1e-9", "--json", "a.json"]) == 3
    assert result_in("a.json").partial
    assert "partial" in capsys.readouterr().err


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown attack": (("--attack", "pdg"), "unknown attack 'pdg': expected one of fgsm, pgd"),
    "unknown norm": (("--norm", "l0"), "unknown norm 'l0': expected one of linf, l2, l1"),
    "target beyond the classes": (("--attack", "universal", "--target", "10"), "a class from 0 to 9, got 10"),
    "target without universal": (("--target", "1"), "add --attack universal"),
    "images of no attack": (("--attack", "fab", "--out", "x.npz"), "--out holds the attacked images of one radius"),
    "images of two radii": (("--epsilon", "0.2", "--out", "x.npz"), "--out holds the attacked images of one radius"),
    "images elsewhere": (("--out", "x.png"), "expected a name that ends in .npz"),
    "one file for two": (("--json", "x.npz", "--out", "./x.npz"), "give --json and --out different names"),
    "no folder": (("--json", "no/a.json"), "choose a folder that exists"),
    "resume is a file": (("--resume", BASE), "no writable folder; choose another place"),
    "norm of epsilon": (("--epsilon", "l2:0.5"), "for a norm that is not measured"),
    "missing surrogate": (("--surrogate", "no.safetensors"), "no such model file: no.safetensors"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "remedy"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_writes_nothing(
    work: Path, capsys: Captured, arguments: tuple[str, ...], remedy: str
) -> None:
    before = {p.name for p in work.iterdir()}
    assert run(["attack", BASE, *FEW, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert remedy in captured.err
    assert captured.err.count("\n") == 1
    assert {p.name for p in work.iterdir()} == before


THOROUGH = (
    "--effort", "thorough", "--samples", "150", "--epsilon", "0.03", "--norm", "linf", "--batch-size", "10",
    "--directions", "2",
)  # fmt: skip


def without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_clocks(v) for k, v in value.items() if k not in ("seconds", "command")}
    return [without_clocks(v) for v in value] if isinstance(value, list) else value


@pytest.mark.slow
@pytest.mark.parametrize("after", [2.0, 5.0, 9.0])
def test_killed_and_started_again_it_ends_in_the_same_json(work: Path, after: float) -> None:
    command = [sys.executable, "-m", "brittle", "audit", BASE, *THOROUGH]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--json", "whole.json"], check=True, capture_output=True, env=environment)
    first = subprocess.Popen(
        [*command, "--json", "part.json", "--resume", "state"], stderr=subprocess.DEVNULL, env=environment
    )
    started = time.monotonic()  # the clock runs from the first thing that was kept
    while not any(Path("state").glob("*/*")) and first.poll() is None:
        assert time.monotonic() - started < 120
        time.sleep(0.05)
    time.sleep(after)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not Path("part.json").exists()
    subprocess.run(
        [*command, "--json", "part.json", "--resume", "state"], check=True, capture_output=True, env=environment
    )
    assert without_clocks(read_json("part.json")) == without_clocks(read_json("whole.json"))
    assert not list(Path("state").glob("*-parts")), "the parts of a finished audit are not kept"
