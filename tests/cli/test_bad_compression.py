"""Bad compressions: exit code 2, one line on stderr that says what to do, no file written or changed, no training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from brittle.cli import compress_outputs
from brittle.cli.app import run
from brittle.delivery import making
from brittle.models.file import save
from brittle.models.recipe import Recipe, build

B = "base.safetensors"
K = ("--keep", "0.5")
OUT = ("--out", "results/c.safetensors", "--html", "results/c.html", "--json", "results/c.json")

# What is wrong: (arguments after `brittle compress`, the part of the message that says what to do)
BAD: dict[str, tuple[tuple[str, ...], str]] = {
    # Sizes
    "no keep": ((B,), r"Missing option '--keep'.*\(see brittle --help\)"),
    "keep nothing": ((B, "--keep", "0"), "--keep is the share .* above 0 and at most 1, got 0: 0.25 is a fourth"),
    "keep more than all": ((B, "--keep", "1.5"), "at most 1, got 1.5"),
    "keep less than nothing": ((B, "--keep", "-1"), "got -1"),
    "keep NaN": ((B, "--keep", "nan"), "got nan"),
    "keep in words": ((B, "--keep", "half"), "cannot read --keep 'half': expected a share such as 0.125 or 1/8"),
    "a size that nothing reaches": ((B, "--keep", "0.0001"), "cannot be (reached|met)|too small|smallest|no plan"),
    "a size that ranks cannot reach": ((B, "--keep", "0.01", "--method", "svd"), "choose a size between them"),
    "a sweep that cannot be": ((B, *K, "--method", "svd-energy", "--sweep", "0.01"), "choose a size between them"),
    "int8 at another size": ((B, *K, "--method", "int8"), "give keep 0.25, got 0.5"),
    "a layer that cannot shrink": (
        ("zoo:mlp?depth=0", *K, "--method", "l2"), "no channels, neurons or heads that can be removed: choose a"
    ),
    # Names
    "unknown method": ((B, *K, "--method", "magic"), "unknown method 'magic': expected one of l1, "),
    "unknown recovery": ((B, *K, "--recover", "sleep"), "unknown recovery 'sleep': expected one of plain, "),
    "unknown penalty": ((B, *K, "--penalty", "nucular=1"), "unknown penalty 'nucular': expected one of l1, "),
    "penalty twice": ((B, *K, "--penalty", "l1=1", "--penalty", "l1=2"), "penalty l1 is given twice: give it once"),
    "penalty without strength": ((B, *K, "--penalty", "l1"), "expected NAME=STRENGTH"),
    "unknown norm": ((B, *K, "--norm", "l1"), "unknown norm 'l1': expected linf or l2"),
    "unknown effort": ((B, *K, "--effort", "heroic"), "unknown effort 'heroic': expected one of quick"),
    "unknown device": ((B, *K, "--device", "abacus"), "device 'abacus' is not available .*: use cpu"),
    # Numbers
    "radius in words": ((B, *K, "--epsilon", "big"), "cannot read radius 'big': expected a number in pixel units"),
    "radius 0": ((B, *K, "--epsilon", "0"), "epsilon must be a positive number"),
    "negative budget": ((B, *K, "--finetune", "-1"), "got -1.0: 10 is usual, 0 is for none"),
    "a budget for nothing": ((B, *K, "--method", "magnitude", "--finetune", "0.01"), "give at least .*, or a smaller"),
    "recovery without a budget": ((B, *K, "--finetune", "0", "--recover", "plain"), "needs a budget, and finetune 0"),
    "flatten too far": ((B, *K, "--flatten", "2"), r"strength in \[0, 1\], got 2.0"),
    "condition below 1": ((B, *K, "--orthonormal", "0"), "at least 1, got 0.0"),
    "negative gate": ((B, *K, "--max-drop", "-2"), "max-drop is in percentage points"),
    "no samples": ((B, *K, "--samples", "0"), "samples must be at least 1, got 0"),
    "no evidence": ((B, *K, "--evidence", "0"), "at least 1 training sample as evidence, got 0"),
    "too little evidence": ((B, *K, "--evidence", "5"), "samples|evidence"),
    "negative seed": ((B, *K, "--seed", "-1"), "the seed must be at least 0"),
    "no time": ((B, *K, "--time-limit", "0"), "time limit must be a positive number"),
    "sweep of nothing": ((B, *K, "--sweep", ","), "--sweep names no share"),
    "sweep twice": ((B, *K, "--sweep", "0.5,1/2"), "each share of --sweep once"),
    "robust scores": ((B, *K, "--method", "robust-taylor"), "ask for a robust choice, or take another method"),
    # Models and data
    "no such file": (("nowhere.safetensors", *K), "no such model file"),
    "no recipe": (("python:own_net:make", *K), "no recipe, so the file of --out .*: give a file that brittle wrote"),
    "model of other data": (("colour.safetensors", *K), "shape 3x8x8, the data have 1x8x8"),
    "model of other classes": (("five.safetensors", *K), "5 classes.*the data have 10"),
    "unknown data": ((B, *K, "--data", "cifar100"), "expected digits, mnist, "),
    "no test split": ((B, *K, "--data", "npz:train-only.npz"), "test"),
}  # fmt: skip

# The same with places to write to.
PLACES: dict[str, tuple[tuple[str, ...], str]] = {
    "no out": ((B, *K), r"Missing option '--out'.*\(see brittle --help\)"),
    "out of another kind": ((B, *K, "--out", "results/c.pt"), r"a name that ends in \.safetensors, got 'c\.pt'"),
    "onnx of another kind": ((B, *K, *OUT, "--onnx", "results/c.pb"), r"a name that ends in \.onnx, got 'c\.pb'"),
    "missing folder": ((B, *K, "--out", "nowhere/c.safetensors"), "No such file or directory; choose a folder that"),
    "two results in one": ((B, *K, *OUT[:2], "--html", "results/c.safetensors"), "different names, and each share"),
    "a sweep over the output": ((B, *K, "--out", "results/c.safetensors", "--html", "results/c-0.5.safetensors",
                                 "--sweep", "0.5"), "two results would go to one file"),
    "page is a folder": ((B, *K, *OUT[:2], "--html", "results"), "no plain file; choose a file that can be written"),
    "resume is a file": ((B, *K, *OUT, "--resume", B), "no writable folder; choose another place"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder, the same when the test is over; nothing is trained in it."""
    monkeypatch.chdir(tmp_path)
    save(build(Recipe("mlp", (1, 8, 8), 10, {"widths": [16, 12]}), seed=0), B)
    save(build(Recipe("mlp", (3, 8, 8), 10, {"widths": [4]}), seed=0), "colour.safetensors")
    save(build(Recipe("mlp", (1, 8, 8), 5, {"widths": [4]}), seed=0), "five.safetensors")
    x = np.random.default_rng(0).random((20, 1, 8, 8), dtype=np.float32)
    np.savez("train-only.npz", x_train=x, y_train=np.arange(20) % 10)
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
    assert run(["compress", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("brittle: ")]
    assert len(lines) == 1, captured.err
    assert captured.err.splitlines()[-1] == lines[0]
    assert re.search(remedy, lines[0]), lines[0]


@pytest.mark.parametrize(("arguments", "remedy"), BAD.values(), ids=BAD.keys())
def test_option(place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], remedy: str) -> None:
    refused((*arguments, *OUT), remedy, capsys)


@pytest.mark.parametrize(("arguments", "remedy"), PLACES.values(), ids=PLACES.keys())
def test_place(place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], remedy: str) -> None:
    refused(arguments, remedy, capsys)


def test_a_network_that_onnx_cannot_express_is_refused_before_the_work(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from brittle.delivery import write
    from brittle.errors import ModelError

    def failing(*arguments: object, **named: object) -> float:
        raise ModelError("the model cannot be written as ONNX (no such operator): save it as safetensors instead")

    monkeypatch.setattr(write, "export_onnx", failing)
    monkeypatch.setattr(making, "compress_to", pytest.fail)
    refused((B, *K, *OUT, "--onnx", "results/c.onnx"), "cannot be written as ONNX", capsys)


def test_outputs_are_checked_without_torch() -> None:
    assert "torch" not in vars(compress_outputs)
