"""Stages are made once; a file that is damaged, foreign or of something else is never taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from brittle.delivery.stages import Made, Stages
from brittle.errors import UsageError
from brittle.models.file import load, save
from tests.small_nets import trained


class Making:
    """Counts how often it was asked."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.calls = model, 0

    def __call__(self) -> Made:
        self.calls += 1
        return Made(self.model, {"notes": ["one"], "bits": None, "loss": 0.25})


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_stage_is_made_once_and_comes_back_the_same(tmp_path: Path) -> None:
    stages, making = Stages(tmp_path / "state", "f"), Making(trained())
    key = stages.key("compressed", keep=0.5)
    first, second = stages.made(key, making), stages.made(key, making)
    assert making.calls == 1
    assert same(first.model, second.model)
    assert first.values == second.values
    assert not second.model.training


def test_another_fact_or_fingerprint_is_another_stage(tmp_path: Path) -> None:
    stages, making = Stages(tmp_path, "f"), Making(trained())
    for key in (stages.key("a", keep=0.5), stages.key("a", keep=0.25), stages.key("b", keep=0.5),
                Stages(tmp_path, "g").key("a", keep=0.5)):  # fmt: skip
        stages.made(key, making)
    assert making.calls == 4


@pytest.mark.parametrize("damage", ["cut", "weights", "values", "foreign", "empty"])
def test_damaged_files_are_made_again(tmp_path: Path, damage: str) -> None:
    stages, making = Stages(tmp_path, "f"), Making(trained())
    key = stages.key("compressed")
    stages.made(key, making)
    place = stages.place(key, ".safetensors")
    assert place is not None
    content = place.read_bytes()
    if damage == "cut":
        place.write_bytes(content[:-100])
    elif damage == "weights":
        place.write_bytes(content[:-4] + bytes(4))
    elif damage == "values":
        place.write_bytes(content.replace(b"one", b"two"))
    elif damage == "foreign":
        save(load(place), place)
    else:
        place.write_bytes(b"")
    again = stages.made(key, making)
    assert making.calls == 2
    assert again.values["notes"] == ["one"]
    assert stages.made(key, making).values == again.values
    assert making.calls == 2


def test_the_file_of_another_key_is_not_taken(tmp_path: Path) -> None:
    stages, making = Stages(tmp_path, "f"), Making(trained())
    one, other = stages.key("a"), stages.key("b")
    stages.made(one, making)
    here, there = stages.place(one, ".safetensors"), stages.place(other, ".safetensors")
    assert here is not None
    assert there is not None
    here.rename(there)
    stages.made(other, making)
    assert making.calls == 2


def test_a_finished_stage_throws_its_own_state_away(tmp_path: Path) -> None:
    stages = Stages(tmp_path, "f")
    key = stages.key("recovered")
    state = stages.place(key, "")
    assert state is not None
    state.mkdir()
    (state / "epoch").write_text("3")
    stages.made(key, Making(trained()))
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_without_a_folder_or_a_recipe_nothing_is_kept(tmp_path: Path) -> None:
    making = Making(trained())
    nowhere = Stages(None, "")
    assert nowhere.place(nowhere.key("a"), "") is None
    nowhere.made(nowhere.key("a"), making)
    nowhere.made(nowhere.key("a"), making)
    assert making.calls == 2
    foreign = Making(nn.Linear(2, 2))
    stages = Stages(tmp_path / "kept", "f")
    stages.made(stages.key("a"), foreign)
    stages.made(stages.key("a"), foreign)
    assert foreign.calls == 2
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    making = Making(trained())
    stages = Stages(tmp_path / "file" / "state", "f")
    with pytest.raises(UsageError, match="cannot make the folder"):
        stages.made(stages.key("a"), making)
    assert making.calls == 0
