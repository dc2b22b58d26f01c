"""`brittle.compress`: whatever data come as, foreign modules too, files on request, bad input before any work."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import brittle
from brittle.data.load import load_data
from brittle.delivery import making
from brittle.errors import BrittleError, DataError, ModelError, UsageError
from brittle.models.file import load, read_marks
from tests.small_nets import trained

QUICK: dict[str, Any] = {"method": "magnitude", "epsilon": 0.05, "finetune": 1.0, "samples": 60, "evidence": 60}


def foreign() -> nn.Module:
    """The same function without a recipe."""
    net = trained()
    return nn.Sequential(*(copy.deepcopy(layer) for layer in net.children()))


def test_a_foreign_module_and_a_pair_of_tensors() -> None:
    test = load_data("digits").split("test")
    net = foreign()
    found = brittle.compress(net, keep=0.25, data=(test.x, test.y), **QUICK)
    assert found.model is not net
    assert found.result.fitted.split == "half of test"
    assert found.result.data.samples == 60
    assert found.result.child_size.nonzero <= 0.25 * found.result.parent_size.parameters
    assert any("no training split" in note for note in found.result.notes)
    assert found.model(test.x[:3]).shape == (3, 10)
    shown = found.result._repr_html_()
    assert f"<b>{found.result.child_size.parameters}</b> parameters" in shown
    assert shown.count("<tr>") == 4


def test_the_parent_is_auto_and_robust_in_one_call() -> None:
    net = trained()
    before = copy.deepcopy(net.state_dict())
    found = brittle.compress(
        net, keep=0.25, method="auto", data="digits", robust=True, samples=40, evidence=60, finetune=0
    )
    assert found.result.asked.defended == 0.05
    assert 0.97 * 0.25 <= found.result.child_size.parameters / found.result.parent_size.parameters <= 0.25
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_the_file_holds_the_network_and_says_where_it_comes_from(tmp_path: Path) -> None:
    out = tmp_path / "child.safetensors"
    found = brittle.compress(trained(), 0.25, "digits", out=out, sweep=(0.5, 0.25), name="net", max_drop=0.5, **QUICK)
    x = load_data("digits").split("test").x[:20]
    assert torch.equal(load(out)(x), found.model(x))
    assert {path.name for path in tmp_path.iterdir()} == {
        "child.safetensors", "child-0.5.safetensors", "child-0.25.safetensors",
    }  # fmt: skip
    assert torch.equal(load(tmp_path / "child-0.5.safetensors")(x), found.siblings[0.5](x))
    assert torch.equal(load(tmp_path / "child-0.25.safetensors")(x), found.model(x))
    assert found.result.child_size.file_bytes == out.stat().st_size
    files = {point.keep: point.file for point in found.result.front if point.method == "magnitude"}
    assert files == {0.25: "child.safetensors", 0.5: "child-0.5.safetensors"}
    assert all(point.file is None for point in found.result.front if point.method != "magnitude")
    marks = read_marks(out)
    assert found.result.gate is not None
    assert marks["gate"] == ("held" if found.result.gate.held else "exceeded")
    assert read_marks(tmp_path / "child-0.5.safetensors")["gate"] == "none"
    origin = json.loads(marks["compression"])
    assert (origin["method"], origin["keep"], origin["parent"]) == ("magnitude", 0.25, "net")
    assert json.loads(read_marks(tmp_path / "child-0.5.safetensors")["compression"])["keep"] == 0.5
    assert marks["partial"] == "no"


def tied() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    net[3].weight = net[1].weight
    return net


class Doubling(nn.Module):
    """An operator that nobody knows, written by hand."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :10] * 2


BAD: dict[str, tuple[dict[str, Any], type[BrittleError], str]] = {
    "no module": ({"model": "net.safetensors"}, UsageError, "an nn.Module .* got a str: load a file with brittle.load"),
    "no data": ({"data": 3}, DataError, "data must be a DATA string"),
    "radius in words": ({"epsilon": "big"}, UsageError, "epsilon is a radius in pixel units, .* got 'big'"),
    "no radius": ({"epsilon": [None]}, UsageError, r"got \[None\]"),
    "keep 0": ({"keep": 0}, UsageError, "keep is the share"),
    "unknown method": ({"method": "magic"}, UsageError, "unknown method 'magic'"),
    "recipe for a file": ({"model": foreign, "out": "c.safetensors"}, UsageError, "no recipe, .* leave out= away"),
    "another suffix": ({"out": "c.pt"}, UsageError, r"a name that ends in \.safetensors, got 'c\.pt'"),
    "a missing folder": ({"out": "nowhere/c.safetensors"}, UsageError, "choose a folder that exists"),
    "resume in a file": ({"resume": "taken"}, UsageError, "no writable folder"),
    "tied weights": ({"model": tied, "method": "l2-global"}, ModelError, "shares its weights with"),
    "nothing to shrink": ({"model": Doubling, "method": "svd"}, BrittleError, ""),
}


@pytest.mark.parametrize(("given", "error", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], error: type[BrittleError], message: str
) -> None:
    monkeypatch.setattr(making, "recover", pytest.fail)
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    arguments = {"model": trained, "keep": 0.25, "data": "digits", **QUICK, **given}
    if callable(arguments["model"]):
        arguments["model"] = arguments["model"]()
    with pytest.raises(error, match=message) as raised:
        brittle.compress(**arguments)
    assert "\n" not in str(raised.value)
    assert {path.name for path in tmp_path.iterdir()} == {"taken"}
