"""ONNX files of networks and of their smaller children, run by another runtime."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.models.export.onnx import export_onnx
from tests.models.children import CASES

for _package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(_package, reason=f"{_package} is an extra: pip install 'brittle[onnx]'")

QUICK = ["mlp", "cnn, nested", "cnn, batch norm", "vit"]
LONG = [name for name in CASES if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def test_children_run_elsewhere(name: str, tmp_path: Path) -> None:
    import onnxruntime

    case = CASES[name]
    model = case.child(case.parent())
    state = copy.deepcopy(model.state_dict())
    place = tmp_path / "net.onnx"
    apart = export_onnx(model, place, case.shape)
    assert 0 <= apart <= 1e-4
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert list(tmp_path.iterdir()) == [place]
    session = onnxruntime.InferenceSession(place.read_bytes())
    for batch in (1, 2, 7):
        x = torch.rand(batch, *case.shape, generator=torch.Generator().manual_seed(batch))
        (theirs,) = session.run(["logits"], {"pixels": x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(theirs, model(x).numpy(), rtol=1e-4, atol=1e-4)


def test_double_numbers(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Tanh()).double()
    assert export_onnx(model, tmp_path / "net.onnx", (1, 2, 2)) <= 1e-12


def test_the_file_says_its_opset(tmp_path: Path) -> None:
    import onnx

    export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), tmp_path / "net.onnx", (1, 2, 2))
    proto = onnx.load(tmp_path / "net.onnx")
    assert [(entry.domain, entry.version) for entry in proto.opset_import if not entry.domain] == [("", 18)]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 0  # any batch


class Moody(nn.Module):
    """Gives other outputs after the first calls, as a file that is wrong would."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.calls = [0]

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return self.layer(x)
        return self.layer(x) + 1


def test_outputs_that_differ_leave_no_file(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"old")
    with pytest.raises(ModelError, match=r"outputs differ by 1\.0e\+00, more than 0.0001: it was not kept"):
        export_onnx(Moody(), tmp_path / "net.onnx", (4,))
    assert (tmp_path / "net.onnx").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


class Counts(nn.Module):
    """What no exported program can hold: a choice by the values of the input."""

    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(4, 2)
    with pytest.raises(ModelError, match=r"ends in \.onnx, got 'net\.pt': choose net\.onnx"):
        export_onnx(layer, tmp_path / "net.pt", (4,))
    with pytest.raises(ModelError, match="fails on inputs of shape"):
        export_onnx(layer, tmp_path / "net.onnx", (5,))
    with pytest.raises(ModelError, match=r"cannot be written as ONNX .*save it as safetensors instead") as caught:
        export_onnx(Counts(), tmp_path / "net.onnx", (4,))
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"cannot write .*choose a folder that can be written"):
        export_onnx(layer, tmp_path / "absent" / "net.onnx", (4,))
    with pytest.raises(ModelError, match=r"bfloat16 numbers .*convert it with model\.float\(\)"):
        export_onnx(copy.deepcopy(layer).bfloat16(), tmp_path / "net.onnx", (4,))
    layer.handle = (i for i in range(3))
    with pytest.raises(ModelError, match="the model cannot be copied"):
        export_onnx(layer, tmp_path / "net.onnx", (4,))
    assert not list(tmp_path.iterdir())
    for package in ("onnx", "onnxscript", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(ModelError, match=rf"writing ONNX needs {package} .*pip install 'brittle\[onnx\]'"):
                export_onnx(nn.Linear(4, 2), tmp_path / "net.onnx", (4,))


def test_a_runtime_that_cannot_read_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("opset 18 is not known")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(ModelError, match=r"onnxruntime cannot read the file that was written .*opset 18"):
        export_onnx(nn.Linear(4, 2), tmp_path / "net.onnx", (4,))
    assert not list(tmp_path.iterdir())
