"""Numbers on the pages are those that the command beside them prints (trained and attacked again: slow)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from brittle.cli import app as cli
from tests.docs.pages import PAGES, ROOT, blocks, words

# Points by which another processor's trainings may move a mean over five seeds.
_TOLERANCE = 3.0
_DATA = ROOT.parent / "shared" / "data"
_FILES = {
    "models_mnist.pth": ("convex_adversarial", "mnist", "convex_adversarial, MNIST"),
    "models_fashion_mnist.pth": ("convex_adversarial", "fashion_mnist", "convex_adversarial, Fashion-MNIST"),
    "mnist_fc_3layer.pth": ("auto_LiRPA", "mnist", "auto_LiRPA, fully connected"),
    "resnet20-12fca82f.th": ("akamaster_resnet_cifar10", "cifar10_jpeg", "akamaster, ResNet-20"),
}


def _rows(page: Path) -> list[list[str]]:
    return [
        [c.strip() for c in line.split("|")[1:-1]] for line in page.read_text().splitlines() if line.startswith("|")
    ]


def _numbers(cell: str) -> list[float]:
    return [float(n) for n in re.findall(r"[-+]?\d+\.?\d*", cell)]


@pytest.mark.slow
def test_demo_table(tmp_path: Path) -> None:
    page = ROOT / "docs/results/demo.md"
    (command,) = [c for block in blocks(page) for c in block.commands]
    assert cli.run([*words(command), "--out", str(tmp_path / "demo")]) == 0
    nets = json.loads((tmp_path / "demo/summary.json").read_text())["nets"]
    rows = {row[0]: row for row in _rows(page)}
    table = [row for row in _rows(page) if row[0] in {net["name"] for net in nets} or "drop" in row[0]]
    for net in nets:
        row = rows[net["name"]]
        assert int(row[1]) == net["parameters"]
        printed = [100 * net["clean"], *(100 * share for share in net["robust"].values())]
        assert [_numbers(cell)[0] for cell in row[2:6]] == pytest.approx(printed, abs=_TOLERANCE)
        if net["drop_points"]:
            drops = table[table.index(row) + 1]
            for cell, key in zip(drops[2:6], ("clean", *net["robust"]), strict=True):
                expected = [net["drop_points"][key], *net["interval95"][key]]
                assert _numbers(cell) == pytest.approx(expected, abs=2 * _TOLERANCE)


def test_readme_quotes_the_demo_table() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    quoted = re.search(r"loses (\S+) points of clean accuracy .*?and (\S+) points under attack", text, re.S)
    assert quoted is not None
    rows = _rows(ROOT / "docs/results/demo.md")
    drops = rows[[row[0] for row in rows].index("low-rank") + 1]
    assert float(quoted[1]) == _numbers(drops[2])[0]
    assert float(quoted[2]) == round(_numbers(drops[4])[0])


@pytest.mark.slow
@pytest.mark.parametrize("weights", _FILES)
def test_published_nets(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, data, net = _FILES[weights]
    file = _DATA / "pretrained" / folder / weights
    if not file.is_file() or not (_DATA / data).is_dir():
        pytest.skip(f"needs {weights} and {data} in ../shared/data")
    page = ROOT / "docs/how-to/published-nets.md"
    assert page in PAGES
    (command,) = [c for block in blocks(page) for c in block.commands if f"PATH/TO/{weights}" in c]
    arguments = [word.replace(f"PATH/TO/{weights}", str(file)) for word in words(command)]
    arguments = [re.sub(r"(\w):PATH/TO/\w+", rf"\1:{_DATA / data}", word) for word in arguments]
    monkeypatch.chdir(tmp_path)
    assert cli.run([*arguments, "--json", "audit.json"]) == 0
    (measured,) = json.loads(Path("audit.json").read_text())["robustness"]
    row = next(row for row in _rows(page) if row[0] == net)
    assert _numbers(row[2])[0] == pytest.approx(100 * measured["clean"], abs=0.06)
    assert _numbers(row[3])[0] == pytest.approx(100 * measured["attacked"], abs=0.3)
