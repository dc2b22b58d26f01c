"""Weight files: what is read, what is unwrapped, and that no code in them runs."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from brittle.errors import ModelError
from brittle.models.weights import WRAPPERS, read_checkpoint, read_state_dict, split_index

STATE = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.tensor([7.0, 8.0])}


def _saved(value: Any, path: Path) -> Path:
    torch.save(value, path)
    return path


def _is_state(got: dict[str, torch.Tensor], shift: float = 0.0) -> bool:
    return list(got) == list(STATE) and all(torch.equal(got[k], STATE[k] + shift) for k in STATE)


def test_torch_zip_old_torch_and_safetensors(tmp_path: Path) -> None:
    assert _is_state(read_state_dict(_saved(STATE, tmp_path / "new.pt")))
    torch.save(STATE, tmp_path / "old.th", _use_new_zipfile_serialization=False)
    assert _is_state(read_state_dict(str(tmp_path / "old.th")))
    save_file(STATE, tmp_path / "w.safetensors")
    got = read_state_dict(tmp_path / "w.safetensors")
    assert got.keys() == STATE.keys()
    assert all(torch.equal(got[k], STATE[k]) for k in STATE)


@pytest.mark.parametrize("key", WRAPPERS)
def test_wrapped(key: str, tmp_path: Path) -> None:
    path = _saved({"epoch": 3, key: STATE, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    assert _is_state(read_state_dict(path))
    assert _is_state(read_state_dict(_saved({key: {"state_dict": STATE}}, path)))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_prefixes_come_off(prefix: str, tmp_path: Path) -> None:
    assert _is_state(read_state_dict(_saved({prefix + k: v for k, v in STATE.items()}, tmp_path / "w.pt")))


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    state = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert list(read_state_dict(_saved(state, tmp_path / "w.pt"))) == ["module.a", "b"]


def test_a_weight_named_like_a_wrapper_stays(tmp_path: Path) -> None:
    state = {"net": torch.zeros(2), "model": torch.ones(2)}
    assert list(read_state_dict(_saved(state, tmp_path / "w.pt"))) == ["net", "model"]


def test_lists_of_state_dicts(tmp_path: Path) -> None:
    nets = [{k: v + shift for k, v in STATE.items()} for shift in (0.0, 1.0, 2.0)]
    path = _saved({"state_dict": nets, "epoch": 1}, tmp_path / "w.pth")
    assert _is_state(read_state_dict(path))
    assert _is_state(read_state_dict(path, 2), shift=2.0)
    assert read_checkpoint(path, 1).notes == ("w.pth holds 3 state dicts; entry 1 was taken",)
    assert read_checkpoint(_saved({"state_dict": nets[:1]}, path)).notes == ()
    for index in (1, -1):
        with pytest.raises(ModelError, match=f"holds 1 state dicts: expected an index of 0 to 0, got {index}"):
            read_state_dict(path, index)
    with pytest.raises(ModelError, match="holds one state dict, not a list: leave the index 0 out"):
        read_state_dict(_saved(STATE, path), 0)


def test_split_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_index("a/b.pth") == (Path("a/b.pth"), None)
    assert split_index("a/b.pth#12") == (Path("a/b.pth"), 12)
    with pytest.raises(ModelError, match=r"cannot read the entry in 'b.pth#x': expected a whole number after #"):
        split_index("b.pth#x")
    (tmp_path / "run#7").touch()
    assert split_index(str(tmp_path / "run#7")) == (tmp_path / "run#7", None)


class Trap:
    """Unpickling it would create the file `mark`."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (subprocess.check_call, ([sys.executable, "-c", f"open({str(self.mark)!r}, 'w')"],))


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_code_in_a_file_never_runs(form: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "w.pt"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Trap(mark)}, protocol=2))
    else:
        torch.save({"state_dict": Trap(mark)}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ModelError, match=r"save the weights alone with torch\.save\(model\.state_dict\(\), F\)"):
        read_state_dict(path)
    assert not mark.exists()
    if form == "pickle":  # the trap itself works
        pickle.loads(path.read_bytes())
        assert mark.exists()


def test_whole_models_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"holds Python objects \(torch.nn.modules.linear.Linear\).*could run code.*--weights F"
    ):
        read_state_dict(_saved(nn.Linear(2, 2), tmp_path / "w.pt"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "w.pt"))
    with pytest.raises(ModelError, match="is a TorchScript program, which could run code"):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(3), "holds a Tensor, expected a state dict"),
        ([1, 2], "holds a list, expected a state dict"),
        ({"a": torch.zeros(1), "epoch": 3}, "holds a value of type int under 'epoch', not only tensors"),
        ({}, "holds no weights"),
        ({"state_dict": {}}, "holds no weights"),
        ({"state_dict": []}, "holds a list, expected a state dict"),
    ],
)
def test_other_contents(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_state_dict(_saved(value, tmp_path / "w.pt"))
    assert "\n" not in str(caught.value)


def test_broken_files(tmp_path: Path) -> None:
    whole = _saved({"a": torch.rand(500, 50)}, tmp_path / "ok.pt").read_bytes()
    for i, content in enumerate((whole[: len(whole) // 2], b"", b"hello, not a checkpoint", bytes(range(256)) * 10)):
        path = tmp_path / f"broken{i}.pt"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"is not a weight file|cannot be read as a torch file") as caught:
            read_state_dict(path)
        assert "\n" not in str(caught.value)
    (tmp_path / "w.safetensors").write_bytes(b"1234")
    with pytest.raises(ModelError, match="is not a safetensors file"):
        read_state_dict(tmp_path / "w.safetensors")


def test_missing_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(ModelError, match="no such weight file"):
            read_state_dict(path)
