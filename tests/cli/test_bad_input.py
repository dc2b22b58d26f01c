"""Bad input: exit code 2, one line on stderr that says what to do, and nothing else: no output, no file, no trace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from brittle.cli.app import run
from tests.cli.bad_files import make_bad_files

OUTPUTS = ("--html", "results/report.html", "--json", "results/audit.json", "--junit", "results/junit.xml")
GOOD = "good.safetensors"

# What is wrong: (arguments after `brittle audit`, a part of the message that says what to do)
BAD: dict[str, tuple[tuple[str, ...], str]] = {
    # Data
    "unknown data name": ((GOOD, "--data", "cifar100"), "expected digits, mnist, .* followed by a colon and a path"),
    "no location": ((GOOD, "--data", "mnist"), "mnist:DIR needs a folder, got none: write it after the colon"),
    "missing folder": ((GOOD, "--data", "mnist:nowhere"), "no such folder: nowhere; check the path"),
    "folder without idx files": ((GOOD, "--data", "mnist:empty"), "name the folder that holds the four idx files"),
    "idx magic": ((GOOD, "--data", "mnist:idx-magic"), "expected 00000803 .*: give the file as distributed"),
    "cut gzip": ((GOOD, "--data", "mnist:idx-cut-gzip"), "labels-idx1-ubyte.gz is truncated .*: download the file"),
    "idx too short": ((GOOD, "--data", "mnist:idx-short"), "promises 1280 values .* holds 1216: download the file"),
    "no label file": ((GOOD, "--data", "mnist:idx-no-labels"), r"no t10k-labels-idx1-ubyte\.gz .*: put the file there"),
    "negative labels": ((GOOD, "--data", "npz:labels.npz"), r"got -1 \.\. 9: renumber the classes from 0"),
    "labels above the classes": ((GOOD, "--data", "npz:many-labels.npz"), r"indices 0 \.\. 2, got 0 \.\. 9: renumber"),
    "one-hot labels": ((GOOD, "--data", "npz:one-hot.npz"), r"y\.argmax\(1\) for one-hot labels"),
    "array names": ((GOOD, "--data", "npz:names.npz"), "expected either x and y, .*; save it with numpy.savez"),
    "NaN pixels": ((GOOD, "--data", "npz:nan.npz"), "holds NaN or infinity: repair or drop such samples"),
    "pixels to 255": ((GOOD, "--data", "npz:bytes-as-floats.npz"), r"pixels must be in \[0, 1\], got.*: divide by 255"),
    # Models
    "unknown prefix": (("keras:net",), r"unknown model 'keras:net': expected F\.safetensors, or a name after zoo:"),
    "missing model": (("nowhere.safetensors",), "no such model file: nowhere.safetensors; expected a"),
    "cut model": (("cut.safetensors",), "cut.safetensors is not a safetensors file .*: write it again"),
    "no recipe": (("no-recipe.safetensors",), "no recipe: name its architecture, as in zoo:mlp.* --weights no-"),
    "torch file as model": (("other-shape.pt",), "not an architecture: name one, as in zoo:.* --weights other-"),
    "missing weights": (("zoo:mlp", "--weights", "nowhere.pt"), "no such weight file: nowhere.pt; expected a state"),
    "whole module": (("zoo:mlp", "--weights", "whole-module.pt"), r"could run code, .* torch\.save\(model\.state_dict"),
    "other shape": (("zoo:mlp", "--weights", "other-shape.pt"), "change the architecture's options to fit the file"),
    "NaN weights": (("zoo:mlp?widths=4", "--weights", "nan.pt"), "NaN or infinity in 1 of 256 entries: the training"),
    "zoo option": (("zoo:mlp?hight=3",), "mlp has no option 'hight': expected one of width, "),
    "zoo name": (("zoo:vgg",), "unknown architecture 'vgg' .*: expected one of mlp, cnn"),
    "foreign module": (("python:nosuch:make",), "no module named 'nosuch': run from the folder that holds it"),
    "model of other data": (("colour.safetensors",), "shape 3x8x8, the data have 1x8x8: use the data that the model"),
    "weights without a model": ((GOOD, "--weights", "other-shape.pt"), "give one for each architecture"),
    "several models": ((GOOD, GOOD), "several MODELs need --against BASE"),
    # Options
    "gate without base": ((GOOD, "--max-drop", "2"), "--max-drop compares with a base: add --against BASE"),
    "negative epsilon": ((GOOD, "--epsilon", "-0.05"), r"positive number in pixel units \(pixels are in \[0, 1\]\)"),
    "epsilon in words": ((GOOD, "--epsilon", "small"), r"such as 0\.05, 8/255 or l2:0\.5"),
    "norm of epsilon": ((GOOD, "--epsilon", "l2:0.5", "--norm", "linf"), r"not measured: expected linf \(see --norm\)"),
    "unknown norm": ((GOOD, "--norm", "l1"), "unknown norm 'l1': expected linf, l2, both"),
    "unknown effort": ((GOOD, "--effort", "heroic"), "expected one of quick, standard, thorough"),
    "no samples": ((GOOD, "--samples", "0"), "samples must be at least 1, got 0"),
    "no k": ((GOOD, "--k", "0"), r"in \(0, 1\], got 0\.0"),
    "no batch": ((GOOD, "--batch-size", "0"), "batch size must be at least 1, got 0"),
    "negative seed": ((GOOD, "--seed", "-1"), "seed must be at least 0 .*, got -1"),
    "unknown device": ((GOOD, "--device", "abacus"), "device 'abacus' is not available here .*: use cpu"),
    "no time": ((GOOD, "--time-limit", "0"), "positive number of seconds, got 0.0"),
    "missing config": ((GOOD, "--config", "nowhere.toml"), "give a TOML file of options"),
    "broken config": ((GOOD, "--config", "broken.toml"), "is not TOML: .*; write lines such as samples = 500"),
    "unknown key": ((GOOD, "--config", "typo.toml"), "unknown option 'sampels': expected one of .*, samples, "),
    "list in config": ((GOOD, "--config", "list.toml"), r"'samples' takes one text or number, got \[1, 2\]"),
    # Usage
    "unknown flag": ((GOOD, "--sampels", "5"), r"No such option.*--sampels.*\(see brittle --help\)"),
    "word for a number": ((GOOD, "--samples", "many"), r"'--samples': .* a valid integer.*\(see brittle --help\)"),
    "no model": ((), r"Missing argument 'MODEL.*\(see brittle --help\)"),
}  # fmt: skip


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    make_bad_files(folder)
    return folder


@pytest.fixture
def place(bad_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the broken files and a folder for results, unchanged when the test is over."""
    folder = shutil.copytree(bad_files, tmp_path / "work")
    (folder / "results").mkdir()
    monkeypatch.chdir(folder)
    before = content(folder)
    yield folder
    assert content(folder) == before


def content(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def assert_refused(code: int, out: str, err: str, remedy: str) -> None:
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert re.fullmatch(r"brittle: [^\n]+\n", err)
    assert re.search(remedy, err), err


@pytest.mark.parametrize(("arguments", "remedy"), BAD.values(), ids=BAD.keys())
def test_one_line_and_nothing_written(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], remedy: str
) -> None:
    code = run(["audit", *arguments, *OUTPUTS])
    captured = capsys.readouterr()
    assert_refused(code, captured.out, captured.err, remedy)


def test_the_same_files_pass_where_nothing_is_wrong(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that the refusals above are for the reason they name, not for something that all of them share."""
    code = run(["audit", GOOD, "--samples", "5", "--effort", "quick", "--epsilon", "0.05", "--norm", "linf"])
    assert code == 0, capsys.readouterr().err


# Elsewhere than `brittle audit`, or places for results: (all arguments, remedy)
OTHERS: dict[str, tuple[tuple[str, ...], str]] = {
    "missing output folder": (("audit", GOOD, "--html", "no/r.html"), "choose a folder that exists and is writable"),
    "output is a folder": (("audit", GOOD, "--json", "results"), "no plain file; choose a file that can be written"),
    "two results, one file": (("audit", GOOD, "--json", "a", "--html", "./a"), "one file: give .* different names"),
    "several on stdout": (("audit", GOOD, GOOD, "--against", GOOD, "--json", "-"), "stdout: give --json a folder"),
    "file for several": (("audit", GOOD, GOOD, "--against", GOOD, "--json", GOOD), "no writable folder; choose"),
    "resume is a file": (("audit", GOOD, "--resume", GOOD), "no writable folder; choose another place"),
    "unknown command": (("audits",), r"No such command 'audits'.*\(see brittle --help\)"),
    "flag without value": (("audit", GOOD, "--samples"), r"'--samples' requires an argument.*\(see brittle --help\)"),
    "report of no JSON": (("report", "typo.toml", "--html", "r.html"), "typo.toml is not a JSON file .*; expected one"),
    "report of nothing": (("report", "no.json", "--html", "r.html"), "no such file: no.json; .* `brittle audit --json"),
    "report without place": (("report", "typo.toml"), r"Missing option '--html'.*\(see brittle --help\)"),
    "demo without seeds": (("demo", "--out", "results", "--seeds", "0"), "--seeds from 1 to 1000, got 0 and 0"),
    "demo into a file": (("demo", "--out", GOOD), "no writable folder; choose another place"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "remedy"), OTHERS.values(), ids=OTHERS.keys())
def test_places_and_other_commands(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], remedy: str
) -> None:
    code = run(arguments)
    captured = capsys.readouterr()
    assert_refused(code, captured.out, captured.err, remedy)


@pytest.mark.parametrize("what", ["NaN pixels", "whole module"])
def test_the_exit_code_of_the_real_process(place: Path, what: str) -> None:
    arguments, remedy = BAD[what]
    script = Path(sys.executable).with_name("brittle")
    done = subprocess.run([script, "audit", *arguments, *OUTPUTS], capture_output=True, text=True, check=False)
    assert_refused(done.returncode, done.stdout, done.stderr, remedy)
