"""A folder to run a page in, and stand-ins for the demo's nets, so that pages need not train for a minute."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from brittle.compression.factorise import factorise
from brittle.compression.prune import prune_neurons
from brittle.data.load import load_data
from brittle.models.file import save
from brittle.models.recipe import build, parse_zoo
from brittle.training.loop import Budget, fit


@pytest.fixture(scope="session")
def demo_nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `demo` with the four nets under their names, from one short training."""
    folder = tmp_path_factory.mktemp("stand-ins") / "demo"
    folder.mkdir()
    data = load_data("digits")
    original = build(parse_zoo("zoo:mlp?width=40&depth=2&input=1x8x8&classes=10"), seed=0)
    fit(original, data.split("train"), data.split("validation"), Budget(epochs=8), seed=0)
    save(original, folder / "original.safetensors")
    save(factorise(original, {"fc1": 2, "fc2": 2}), folder / "low-rank.safetensors")
    for child in ("neuron-pruned", "narrow"):
        save(prune_neurons(original, (20, 20)), folder / f"{child}.safetensors")
    return folder


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def workshop(empty_folder: Path, demo_nets: Path) -> Path:
    """A working directory with the stand-ins in `demo`."""
    shutil.copytree(demo_nets, empty_folder / "demo")
    return empty_folder
