"""`export:`: programs of torch.export, and archives that would run something while they load."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from brittle.errors import ModelError
from brittle.models.exported_check import checked_archive
from brittle.models.load import load_model
from brittle.operators.network import read_network
from tests.auditing.made import SHAPE, relu_net, samples

DYNAMIC = ({0: torch.export.Dim("batch")},)


def write(model: nn.Module, place: Path, *, dynamic: bool = True) -> Path:
    x = torch.rand(3, *SHAPE)
    program = torch.export.export(model.eval(), (x,), dynamic_shapes=DYNAMIC if dynamic else None)
    torch.export.save(program, place)
    return place


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(relu_net(), tmp_path_factory.mktemp("export") / "net.pt2")


def changed(source: Path, place: Path, part: str, change: Callable[[bytes], bytes]) -> Path:
    """The archive with one part changed, or made from b"" where there is none."""
    with zipfile.ZipFile(source) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(parts)).partition("/")[0]
    parts[f"{root}/{part}"] = change(parts.get(f"{root}/{part}", b""))
    with zipfile.ZipFile(place, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return place


def test_logits_gradients_and_layers_are_those_of_the_network(exported: Path) -> None:
    loaded = load_model(f"export:{exported}", input_shape=SHAPE, classes=3)
    x = samples(5)[0].requires_grad_()
    torch.testing.assert_close(loaded.module(x), relu_net()(x))
    (mine,) = torch.autograd.grad(loaded.module(x).square().sum(), x)
    (theirs,) = torch.autograd.grad(relu_net()(x).square().sum(), x)
    torch.testing.assert_close(mine, theirs)
    network = read_network(loaded.module, SHAPE)
    assert [layer.name for layer in network.layers] == ["fc1", "head"]
    assert network.graph is not None


class _Mark:
    """Makes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


def _program(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def made(content: bytes) -> bytes:
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return made


def _call(target: str) -> Callable[[bytes], bytes]:
    return _program(lambda p: p["graph_module"]["graph"]["nodes"][0].update(target=target))


EVIL = "__import__('os').mkdir('ran')"


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("data/aotinductor/model/net.so", lambda _: b"\x7fELF", "could be code"),
        ("data/constants/custom_obj_0", lambda _: b"PK", "could be code"),
        ("data/weights/model.pt", lambda _: b"PK", "could be code"),
        ("models/model.json", lambda _: b"{", "not JSON"),
        ("models/model.json", _call("torch.hub.load"), "'torch.hub.load', which is no plain tensor operation"),
        ("models/model.json", _call("torch.ops.aten.__class__.mro"), "no plain tensor operation"),
        ("models/model.json", _call("torch.ops.aten.from_file.default"), "no plain tensor operation"),
        ("models/model.json", _call("_operator.call"), "no plain tensor operation"),
        (
            "models/model.json",
            _program(lambda p: p["graph_module"]["graph"]["inputs"][0]["as_tensor"].update(name=f"x={EVIL}")),
            "a name in its graph is no name",
        ),
        (
            "models/model.json",
            _program(lambda p: p["graph_module"].update(extra={"expr_str": EVIL})),
            "a size in it is no arithmetic",
        ),
        (
            "models/model.json",
            _program(lambda p: p["graph_module"].update(extra={"expr_str": "s0.__class__"})),
            "a size in it is no arithmetic",
        ),
        (
            "models/model.json",
            _program(lambda p: p["graph_module"].update(in_spec='[1, {"type": "collections.defaultdict"}]')),
            "objects of classes of their own",
        ),
        (
            "models/model.json",
            _program(lambda p: p["graph_module"].update(extra={"as_custom_obj": {}})),
            "an object of a class of its own",
        ),
        (
            "data/weights/model_weights_config.json",
            lambda _: b'{"config": {"w": {"path_name": "weight_0", "use_pickle": true}}}',
            "'w' is a pickled object",
        ),
    ],
)
def test_archives_that_could_run_code_are_refused(
    exported: Path, tmp_path: Path, part: str, change: Callable[[bytes], bytes], message: str
) -> None:
    place = changed(exported, tmp_path / "evil.pt2", part, change)
    with pytest.raises(ModelError, match=message) as refused:
        load_model(f"export:{place}")
    assert "\n" not in str(refused.value)


def test_pickled_sample_inputs_are_not_unpickled(exported: Path, tmp_path: Path) -> None:
    mark, made = tmp_path / "ran", io.BytesIO()
    torch.save(((_Mark(mark),), {}), made)
    place = changed(exported, tmp_path / "evil.pt2", "data/sample_inputs/model.pt", lambda _: made.getvalue())
    with pytest.raises(ModelError, match="sample inputs are pickled objects, reading them could run code"):
        load_model(f"export:{place}")
    assert not mark.exists()
    pickle.loads(pickle.dumps(_Mark(mark)))
    assert mark.exists()  # the mark works


def test_guards_and_notes_of_the_file_do_not_reach_torch(exported: Path, tmp_path: Path) -> None:
    place = changed(
        exported, tmp_path / "guards.pt2", "models/model.json", _program(lambda p: p.update(guards_code=[EVIL]))
    )
    with zipfile.ZipFile(io.BytesIO(checked_archive(place))) as archive:
        text = next(archive.read(name) for name in archive.namelist() if name.endswith("models/model.json"))
    assert b"__import__" not in text
    assert b"stack_trace" not in text


def test_names_that_two_readers_might_read_differently_are_refused(exported: Path, tmp_path: Path) -> None:
    place = changed(exported, tmp_path / "twice.pt2", "MODELS/MODEL.JSON", lambda _: b"{}")
    with pytest.raises(ModelError, match="parts are not named as torch"):
        load_model(f"export:{place}")


def test_a_batch_of_one_size_and_other_mistakes_are_told(exported: Path, tmp_path: Path) -> None:
    fixed = write(relu_net(), tmp_path / "fixed.pt2", dynamic=False)
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(b"no archive")
    for spec, weights, message in (
        (f"export:{fixed}", None, r"takes batches of 3 alone: export it with dynamic_shapes="),
        (f"export:{broken}", None, "no archive of torch.export.save"),
        ("export:nowhere.pt2", None, "no such exported program: nowhere.pt2"),
        (f"export:{exported}", "w.pt", "has its own weights: leave --weights out"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model(spec, weights=weights)
