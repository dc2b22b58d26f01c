"""Bad training options: exit code 2, one line on stderr that says what to do, and no file is written or changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from brittle.cli import train_session
from brittle.cli.app import run
from brittle.models.file import save
from brittle.models.recipe import Recipe, build
from brittle.training.engine import train as train_by_plan

NET = "zoo:mlp?widths=4"
OUT = ("--out", "results/net.safetensors")
ALL = (*OUT, "--html", "results/t.html", "--json", "results/t.json")
M = ("--model", NET)

# What is wrong: (arguments after `brittle train`, the part of the message that says what to do)
BAD: dict[str, tuple[tuple[str, ...], str]] = {
    # Penalties
    "negative strength": ((*M, "--penalty", "nuclear=-1"), "nuclear: the strength must be >= 0, got -1: start with"),
    "strength in words": ((*M, "--penalty", "nuclear=strong"), r"'nuclear=strong': expected NAME=STRENGTH, such as"),
    "no strength": ((*M, "--penalty", "nuclear"), "cannot read penalty 'nuclear': expected NAME=STRENGTH"),
    "strength NaN": ((*M, "--penalty", "nuclear=nan"), "the strength must be >= 0, got nan"),
    "unknown penalty": ((*M, "--penalty", "nucular=1"), "unknown penalty 'nucular': expected one of l1, "),
    "penalty twice": ((*M, "--penalty", "l1=1", "--penalty", "l1=2"), "l1 is given twice: give it once"),
    "no proximal step": ((*M, "--penalty", "alignment=1", "--proximal"), "leave --proximal out, or take one of l1, "),
    "proximal nothing": ((*M, "--proximal"), "--proximal .*: add --penalty NAME=STRENGTH"),
    "layers for nothing": ((*M, "--layers", "fc*"), "--layers .*: add --penalty NAME=STRENGTH or --hold-scale"),
    "unknown layer": ((*M, "--hold-scale", "--layers", "conv*"), "no layer matches 'conv.': .* layers are fc1, head"),
    "no layer to hold": (("--model", "zoo:mlp?depth=0", "--hold-scale"), "name the layers to act on, out of head"),
    # Models and data
    "rank above the layer": (("--model", "zoo:mlp?widths=4&ranks=9"), "ranks: 9 is not below the full rank"),
    "model of other data": (("--model", "colour.safetensors"), "shape 3x8x8, the data have 1x8x8: use the data that"),
    "model of other classes": (("--model", "five.safetensors"), "5 classes.*the data have 10"),
    "broken weights": ((*M, "--weights", "nowhere.pt"), "no such weight file: nowhere.pt"),
    "one split": ((*M, "--data", "npz:test-only.npz"), "train and validation, .* has only test: add a training part"),
    "unknown data": ((*M, "--data", "cifar100"), "expected digits, mnist, "),
    "no recipe": (("--model", "python:own_net:make"), "no recipe, so the file of --out .*: train a zoo:"),
    "no model": ((), r"Missing option '--model'.*\(see brittle --help\)"),
    # The attack
    "unknown objective": ((*M, "--adversarial", "pdg", "--epsilon", "0.1"), "'pdg': expected one of pgd, trades, fast"),
    "no radius": ((*M, "--adversarial", "pgd"), "one radius, got 0: give one, such as --epsilon 8/255"),
    "two radii": ((*M, "--adversarial", "pgd", "--epsilon", "0.1", "0.2"), "one radius, got 2: give one"),
    "negative radius": ((*M, "--adversarial", "pgd", "--epsilon", "-0.1"), "positive number in pixel units"),
    "unknown norm": ((*M, "--norm", "l1"), "unknown norm 'l1': expected one of linf, l2"),
    "beta of pgd": ((*M, "--adversarial", "pgd", "--epsilon", "0.1", "--beta", "6"), "no --beta: .* take .* trades"),
    "steps of nothing": ((*M, "--steps", "3"), "--steps belongs to adversarial training: add --adversarial pgd"),
    "no steps": ((*M, "--adversarial", "pgd", "--epsilon", "0.1", "--steps", "0"), "at least 1 step of attack, got 0"),
    "no share": ((*M, "--adversarial", "pgd", "--epsilon", "0.1", "--share", "0"), r"in \(0, 1\], got 0\.0: 1 attacks"),
    "negative beta": ((*M, "--adversarial", "trades", "--epsilon", "0.1", "--beta", "-1"), "beta >= 0, got -1.0: 6 is"),
    # Dynamics
    "no epochs": ((*M, "--epochs", "0"), "at least 1, got 0 and 64"),
    "unknown optimiser": ((*M, "--optimiser", "lion"), "unknown optimiser 'lion': expected one of sgd, "),
    "unknown schedule": ((*M, "--schedule", "linear"), "unknown schedule 'linear': expected one of constant, "),
    "no rate": ((*M, "--learning-rate", "0"), "learning rate must be > 0"),
    "momentum 1": ((*M, "--momentum", "1"), r"momentum must lie in \[0, 1\), got 1\.0"),
    "all labels noisy": ((*M, "--label-noise", "1"), r"share of the labels in \[0, 1\), got 1\.0"),
    "noise in words": ((*M, "--gradient-noise", "heavy"), "'heavy': expected ALPHA:SCALE, such as 1.8:0.001"),
    "alpha above 2": ((*M, "--gradient-noise", "3:0.1"), r"alpha in \(0, 2\] and a scale >= 0, got 3\.0 and 0\.1"),
    "no patience": ((*M, "--patience", "0"), "patience must be at least 1 epoch, got 0: leave it out"),
    "no gradient": ((*M, "--clip", "0"), "must be a positive number, got 0.0: leave it out"),
    "negative seed": ((*M, "--seed", "-1"), "the seed must be at least 0 .*, got -1"),
    "unknown device": ((*M, "--device", "abacus"), "cannot train on device 'abacus' .*: give cpu"),
    "unknown precision": ((*M, "--mixed-precision", "int4"), "precision 'int4': expected one of no, bf16"),
    "negative looks": ((*M, "--track", "-1"), "epochs between two looks, got -1: 0 is for none"),
    # A loss that is no number
    "diverging": ((*M, "--optimiser", "sgd", "--learning-rate", "1e30"), r"at step \d+ in epoch 1 of 20: lower the le"),
}  # fmt: skip

# The same with places to write to.
PLACES: dict[str, tuple[tuple[str, ...], str]] = {
    "no out": (M, r"Missing option '--out'.*\(see brittle --help\)"),
    "out of another kind": ((*M, "--out", "results/net.pt"), r"a name that ends in \.safetensors, got 'net\.pt'"),
    "missing folder": ((*M, "--out", "nowhere/net.safetensors"), "No such file or directory; choose a folder that"),
    "two results in one": ((*M, *OUT, "--html", "results/net.safetensors"), "--out, --html and --json different names"),
    "page is a folder": ((*M, *OUT, "--html", "results"), "no plain file; choose a file that can be written"),
    "resume is a file": ((*M, *OUT, "--resume", "colour.safetensors"), "no writable folder; choose another place"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder, the same when the test is over."""
    monkeypatch.chdir(tmp_path)
    save(build(Recipe("mlp", (3, 8, 8), 10, {"widths": [4]}), seed=0), "colour.safetensors")
    save(build(Recipe("mlp", (1, 8, 8), 5, {"widths": [4]}), seed=0), "five.safetensors")
    x = np.random.default_rng(0).random((20, 1, 8, 8), dtype=np.float32)
    np.savez("test-only.npz", x_test=x, y_test=np.arange(20) % 10)
    Path("own_net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    Path("results").mkdir()
    before = content(tmp_path)
    yield tmp_path
    assert content(tmp_path) == before


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(arguments: tuple[str, ...], remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith("training: ")]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("brittle: ")
    assert re.search(remedy, lines[0]), lines[0]


@pytest.mark.parametrize(("arguments", "remedy"), BAD.values(), ids=BAD.keys())
def test_option(place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], remedy: str) -> None:
    refused((*arguments, *ALL), remedy, capsys)


@pytest.mark.parametrize(("arguments", "remedy"), PLACES.values(), ids=PLACES.keys())
def test_place(place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], remedy: str) -> None:
    refused(arguments, remedy, capsys)


def test_a_run_that_diverges_late_says_where_and_keeps_a_state_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_session, "_EVERY", 0.0)
    seen: list[int] = []

    def broken(model: nn.Module, *arguments: object, **named: object) -> object:
        def damage(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if module.training:
                seen.append(1)
                if len(seen) == 30:
                    inputs[0].fill_(torch.nan)

        model.register_forward_pre_hook(damage)
        return train_by_plan(model, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(train_session, "train", broken)
    assert run(["train", *M, "--out", "net.safetensors", "--epochs", "3", "--track", "0", "--resume", "state"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "the loss is nan at step 30 in epoch 2 of 3: lower the learning rate (0.001)" in line
    assert line.endswith("the last good checkpoint is kept in state")
    (state,) = Path("state").iterdir()
    assert state.suffix == ".safetensors"
    assert not Path("net.safetensors").exists()
