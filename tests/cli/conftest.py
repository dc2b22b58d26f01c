"""A small digits net, a rank-1 child of it that is clearly worse, and a folder to work in; both are made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from brittle.compression.factorise import factorise
from brittle.models.file import save
from tests.small_nets import trained


@pytest.fixture(scope="session")
def two_nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    net = trained()
    save(net, folder / "base.safetensors")
    save(factorise(net, {"fc1": 1, "fc2": 1}), folder / "child.safetensors")
    return folder


@pytest.fixture
def work(two_nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: holds base.safetensors and child.safetensors."""
    folder = shutil.copytree(two_nets, tmp_path / "work")
    monkeypatch.chdir(folder)
    return folder
