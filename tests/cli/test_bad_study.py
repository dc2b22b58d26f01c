"""Bad studies: exit code 2, one line on stderr that says what to do, before any trial, and nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from brittle.cli import study_session
from brittle.cli.app import run

BASE = """
name: own
question: Does it?
base: {model: "zoo:mlp?width=8&depth=1", test: 20}
"""

# What is wrong: (the study file after BASE, the part of the message that says what to do)
FILES: dict[str, tuple[str, str]] = {
    "unknown key": ("grids: {seed: [0]}", r"own\.yaml:5: unknown key grids: did you mean grid\?"),
    "impossible value": ("grid: {train: [5]}", r"own\.yaml:5: train must be >= 10, got 5"),
    "unknown measure": ("measures: [clean, speed]", "unknown measure 'speed': expected one of clean, "),
    "transfer to nothing": ("measures: [transfer]", "transfer needs the field transfer: give a DATA string"),
    "transfer to nowhere": ("grid: {transfer: ['mnist:nowhere']}\nmeasures: [transfer]", "nowhere"),
    "a best that nobody knows": ("measures: [known]", "nobody knows the best accuracy on 'digits'"),
    "unknown data": ("grid: {data: [cifar100]}", "expected digits, mnist, "),
    "missing data": ("grid: {data: ['images:nowhere']}", "nowhere"),
    "unknown model": ("grid: {model: ['zoo:mpl']}", "source kind dense.*mpl"),
    "model from elsewhere": ("grid: {model: ['timm:vit']}", "trains a zoo model from scratch, got 'timm:vit': write"),
    "rank too large": ("grid: {source: [{kind: rank, rank: 99}]}", r"source kind rank, rank 99\): .*99 is not below"),
    "unknown penalty": ("grid: {source: [{kind: penalty, name: nucular, strength: 1}]}", "unknown penalty 'nucular'"),
    "unknown method": ("grid: {source: [{kind: post-hoc, method: magic, keep: 0.5}]}", "compression method 'magic'"),
    "no such optimiser": ("grid: {training.optimiser: [lion]}", "'lion'"),
    "attack without radius": ("grid: {training.adversarial: [pgd]}", "give the radius to train against"),
    "levels that are not there": (
        "grid: {source: [{kind: width, factor: 0.5}]}\n"
        "criterion: {predictor: structure.spectral, outcome: clean, over: source.rank}",
        "criterion.over is source.rank, but a trial has no such field: choose one they all have",
    ),
    "one level": (
        "grid: {seed: [0, 1]}\ncriterion: {predictor: structure.spectral, outcome: clean}",
        "no two levels of source to compare: give grid or cells more values of it",
    ),
    "outcome that nothing gives": (
        "grid: {model: ['zoo:mlp?width=8&depth=1', 'zoo:mlp?width=4&depth=1']}\n"
        "criterion: {predictor: structure.spectral, outcome: speed, over: model}",
        "criterion names 'speed', which no measure gives: expected such as clean, robust.linf@0.05, structure.spectral",
    ),
    "outcome that is not measured": (
        "measures: [clean, structure]\ngrid: {model: ['zoo:mlp?width=8&depth=1', 'zoo:mlp?width=4&depth=1']}\n"
        "criterion: {predictor: structure.spectral, outcome: robust.linf@0.05, over: model}",
        "names 'robust.linf@0.05', but a trial does not measure robust: add it to measures",
    ),
    "outcome at another radius": (
        "grid: {model: ['zoo:mlp?width=8&depth=1', 'zoo:mlp?width=4&depth=1']}\n"
        "criterion: {predictor: structure.spectral, outcome: robust.linf@0.07, over: model}",
        "names 'robust.linf@0.07', but a trial's threats are linf@0.05, l2@0.5: add that radius to threats",
    ),
}

# Arguments after `brittle study`, and the remedy.
ARGUMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown study": (("run", "claim"), r"unknown study 'claim': expected claims, or a file that ends in \.yaml"),
    "no such file": (("run", "mine.yaml"), r"no such file: mine\.yaml"),
    "unknown preset": (("run", "claims", "--preset", "tiny"), "unknown preset 'tiny': expected one of quick, full"),
    "full without data": (("run", "claims", "--preset", "full"), "data sets from a folder: give it with --data-dir"),
    "unknown claim": (
        ("run", "claims", "--only", "C2,C13"),
        r"unknown claim 'C13': expected some of C1, .*--only C2,C5",
    ),
    "some of a file": (("run", "good.yaml", "--only", "C2"), "--only chooses among the claims: leave it out"),
    "no workers": (("run", "good.yaml", "--workers", "0"), "at least 1, got 0: 1 runs all trials in this process"),
    "no time": (("run", "good.yaml", "--time-limit", "0"), "above 0 seconds, got 0: leave it out for none"),
    "out is a file": (("run", "good.yaml", "--out", "good.yaml"), "no writable folder; choose another place"),
    "json is a folder": (("run", "good.yaml", "--json", "results"), "no plain file; choose a file that can be written"),
    "report of nothing": (("report", "results"), "holds no run of a study: give the --out of brittle study run"),
    "report to nowhere": (("report", "results", "--html", "no/r.html"), "choose a folder that exists"),
    "no name": (("run",), r"Missing argument.*\(see brittle --help\)"),
    "unknown command": (("ran",), r"No such command 'ran'.*\(see brittle --help\)"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder, the same when the test is over; and no trial may start."""

    def started(*arguments: object, **named: object) -> None:
        pytest.fail("a trial was started")

    monkeypatch.setattr(study_session, "run_trials", started)
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("good.yaml").write_text(BASE, encoding="utf-8")
    yield tmp_path
    assert {path.name for path in tmp_path.rglob("*")} <= {"results", "good.yaml", "own.yaml"}


def refused(arguments: tuple[str, ...], remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("brittle: ")
    assert re.search(remedy, lines[0]), lines[0]


@pytest.mark.parametrize(("text", "remedy"), FILES.values(), ids=FILES.keys())
def test_a_study_file_is_refused(place: Path, text: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.yaml").write_text(BASE + text + "\n", encoding="utf-8")
    refused(("run", "own.yaml"), remedy, capsys)


@pytest.mark.parametrize(("arguments", "remedy"), ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_arguments_are_refused(
    place: Path, arguments: tuple[str, ...], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(arguments, remedy, capsys)
