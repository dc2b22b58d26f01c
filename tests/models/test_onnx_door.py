"""`onnx:`: weights for their structure, onnxruntime for the logits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import brittle
from brittle.errors import ModelError
from brittle.models.export.onnx import export_onnx
from brittle.models.load import load_model
from brittle.models.recipe import Recipe, build
from brittle.operators.network import read_network

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'brittle[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is an extra: pip install 'brittle[onnx]'")

X = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def cnn() -> nn.Module:
    return build(Recipe("cnn", (1, 8, 8), 3, {"channels": [4, 6], "fc": [5]}), seed=0)


@pytest.fixture(scope="module")
def exported(cnn: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("onnx") / "net.onnx"
    export_onnx(cnn, place, (1, 8, 8))
    return place


@pytest.fixture(scope="module")
def quantised(exported: Path) -> Path:
    tool = pytest.importorskip("onnxruntime.quantization", reason="onnxruntime's quantiser is not there")
    place = exported.with_name("int8.onnx")
    tool.quantize_dynamic(str(exported), str(place))
    return place


def made(tmp_path: Path, nodes: list[Any], weights: dict[str, Any], shape: list[Any]) -> str:
    """A file with these nodes from "x" to "y"."""
    kind = onnx.TensorProto.FLOAT
    stored = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    ends = [
        onnx.helper.make_tensor_value_info("x", kind, shape),
        onnx.helper.make_tensor_value_info("y", kind, None),
    ]
    graph = onnx.helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(tmp_path / "made.onnx"))
    return f"onnx:{tmp_path / 'made.onnx'}"


def test_logits_are_the_networks_and_have_no_gradient(cnn: nn.Module, exported: Path) -> None:
    loaded = load_model(f"onnx:{exported}", input_shape=(1, 8, 8), classes=3)
    assert loaded.notes == ("runs in onnxruntime: a black box without gradients, expected to take pixels in [0, 1]",)
    pixels = X.clone().requires_grad_()
    logits = loaded.module(pixels)
    assert not logits.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(logits, cnn(X))
        torch.testing.assert_close(copy.deepcopy(loaded.module).double()(X.double()).float(), logits)


def test_its_matrices_are_those_of_the_network_it_was_made_from(cnn: nn.Module, exported: Path) -> None:
    mine = brittle.structure(load_model(f"onnx:{exported}").module)
    theirs = brittle.structure(cnn)
    assert [(row.name, row.shape, row.parameters) for row in mine] == [
        (row.name, row.shape, row.parameters) for row in theirs
    ]
    for one, other in zip(mine, theirs, strict=True):
        assert one.spectral.epsilon == pytest.approx(other.spectral.epsilon, rel=1e-5)
        assert one.frobenius == pytest.approx(other.frobenius, rel=1e-5)


def test_int8_weights_are_measured_as_what_they_stand_for(cnn: nn.Module, quantised: Path) -> None:
    loaded = load_model(f"onnx:{quantised}", input_shape=(1, 8, 8), classes=3)
    assert "samples are run one at a time" in loaded.notes[1]
    found = dict(loaded.module.named_parameters())
    for name, weight in cnn.named_parameters():
        if name.endswith("weight"):
            step = float(weight.abs().max()) / 127
            assert float((found[name] - weight).abs().max()) <= 0.51 * 2 * step
    network = read_network(loaded.module, (1, 8, 8))
    assert network.why == "the model could not be traced: it runs outside torch"
    assert not network.unmeasured


def test_what_a_sample_gets_does_not_hang_on_its_batch_with_dynamic_quantisation(quantised: Path) -> None:
    model = load_model(f"onnx:{quantised}").module
    bright = torch.cat([0.05 * X[:1], torch.ones(1, 1, 8, 8)])
    torch.testing.assert_close(model(bright)[:1], model(bright[:1]))


def test_a_file_for_one_batch_size_takes_any(tmp_path: Path) -> None:
    w = np.arange(12, dtype=np.float32).reshape(4, 3)
    spec = made(tmp_path, [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": w}, [2, 4])
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    model = load_model(spec).module
    torch.testing.assert_close(model(x), x @ torch.from_numpy(w))
    (row,) = brittle.structure(model)
    assert row.shape == (3, 4)  # rows are outputs


@pytest.mark.parametrize("axis", [0, 1])
def test_scales_for_each_row_or_column_and_zero_points_are_undone(tmp_path: Path, axis: int) -> None:
    stored = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]], dtype=np.int8)
    n = stored.shape[axis]
    scale = np.arange(1, n + 1, dtype=np.float32)
    zero = np.arange(n, dtype=np.int8)
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=axis),
        onnx.helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    model = load_model(made(tmp_path, nodes, {"w": stored, "s": scale, "z": zero}, ["n", 4])).module
    (weight,) = model.parameters()
    eye = model(torch.eye(4))  # onnxruntime's own product shows the matrix
    torch.testing.assert_close(weight, eye.T)


def test_weights_of_no_known_operation_are_listed_as_unmeasured(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Add", ["x", "shift"], ["a"]),
        onnx.helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    weights = {"w": np.ones((4, 3), np.float32), "shift": np.ones((1, 4), np.float32)}
    model = load_model(made(tmp_path, nodes, weights, ["n", 4])).module
    network = read_network(model, (4,))
    assert [layer.name for layer in network.layers] == ["w"]
    assert [(row.name, row.shape) for row in network.unmeasured] == [("shift", (1, 4))]


def test_files_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path, exported: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.read_bytes()[:200])
    two = made(tmp_path, [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], {}, ["n", 4])
    graph = onnx.load(two.removeprefix("onnx:"))
    graph.graph.input.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4, 3]))
    onnx.save(graph, str(tmp_path / "two.onnx"))
    for spec, weights, message in (
        ("onnx:nowhere.onnx", None, "no such ONNX file: nowhere.onnx"),
        (f"onnx:{broken}", None, "cannot be run by onnxruntime"),
        (f"onnx:{exported}", "w.safetensors", "has its own weights: leave --weights out"),
        (f"onnx:{tmp_path / 'two.onnx'}", None, r"takes x tensor\(float\), w tensor\(float\): expected one input"),
    ):
        with pytest.raises(ModelError, match=message) as refused:
            load_model(spec, weights=weights)
        assert "\n" not in str(refused.value)


def test_without_onnxruntime_the_remedy_is_told(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(f"no {name}")

    monkeypatch.setattr("brittle.models.onnx_door.import_module", absent)
    with pytest.raises(ModelError, match=r"needs onnx and onnxruntime .* pip install 'brittle\[onnx\]'"):
        load_model(f"onnx:{exported}")
