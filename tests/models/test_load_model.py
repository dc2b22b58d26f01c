"""The front door: every form of a MODEL string."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from brittle.errors import ModelError
from brittle.models.file import save
from brittle.models.load import FRONT_DOORS, load_model
from brittle.models.messages import first_line
from brittle.models.pixels import Pixels
from brittle.models.recipe import Recipe, build, recipe_of

SPEC = "zoo:mlp?width=5&input=1x4x4&classes=3"


def test_zoo_without_weights() -> None:
    loaded = load_model(SPEC, seed=7)
    assert loaded.notes == ("no --weights: random weights from seed 7",)
    assert loaded.name == SPEC
    assert loaded.recipe == Recipe("mlp", (1, 4, 4), 3, {"width": 5})
    assert not loaded.module.training
    assert torch.equal(loaded.module.fc1.weight, load_model(SPEC, seed=7).module.fc1.weight)
    assert not torch.equal(loaded.module.fc1.weight, load_model(SPEC, seed=8).module.fc1.weight)


def test_zoo_with_weights(tmp_path: Path) -> None:
    state = load_model(SPEC, seed=1).module.state_dict()
    torch.save([{k: v * 0 for k, v in state.items()}, state], tmp_path / "w.pt")
    loaded = load_model(SPEC, weights=f"{tmp_path / 'w.pt'}#1")
    assert loaded.notes == ("w.pt holds 2 state dicts; entry 1 was taken",)
    assert all(torch.equal(v, state[k]) for k, v in loaded.module.state_dict().items())
    assert (load_model(SPEC, weights=tmp_path / "w.pt").module.fc1.weight == 0).all()
    with pytest.raises(ModelError, match=r"w\.pt: the file's 'fc1.weight'|w\.pt: weight 'fc1.weight' has shape"):
        load_model(SPEC.replace("width=5", "width=6"), weights=tmp_path / "w.pt")


def test_own_file(tmp_path: Path) -> None:
    place = tmp_path / "net.safetensors"
    save(build(Recipe("mlp", (1, 4, 4), 3, {"width": 5}), seed=2), place)
    loaded = load_model(str(place), input_shape=(1, 4, 4), classes=3)
    assert loaded.recipe is not None
    assert loaded.recipe.options == {"width": 5}
    with pytest.raises(ModelError, match="has its own weights: leave --weights out"):
        load_model(str(place), weights=place)
    with pytest.raises(ModelError, match="takes inputs of shape 1x4x4, the data have 1x8x8"):
        load_model(str(place), input_shape=(1, 8, 8))
    with pytest.raises(ModelError, match="has 3 classes, the data have 10"):
        load_model(str(place), classes=10)


@pytest.mark.parametrize("suffix", ["pt", "pth", "pkl", "th", "ckpt"])
def test_weight_files_name_no_model(suffix: str) -> None:
    with pytest.raises(ModelError, match=f"net.{suffix} holds weights at best, .* --weights net.{suffix}"):
        load_model(f"net.{suffix}")


@pytest.mark.parametrize("spec", ["keras:net", "resnet", "", "zoo"])
def test_unknown_forms_list_the_known(spec: str) -> None:
    with pytest.raises(ModelError, match=r"expected F\.safetensors, or a name after " + ".*".join(FRONT_DOORS)):
        load_model(spec)


NETS = """
from torch import nn
def small(): return nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Dropout())
class Holder:
    ready = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
def pair(): return nn.Linear(2, 2), 1
def wants(x): return x
def leaves(): raise SystemExit(3)
number = 3
class Maps(nn.Module):
    def forward(self, x): return x
class Two(nn.Module):
    def forward(self, x): return x, x
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "brittle_test_nets.py").write_text(NETS)
    (tmp_path / "brittle_test_broken.py").write_text("import torch\n1 / 0\n")
    (tmp_path / "brittle_test_needs.py").write_text("import surely_not_installed\n")
    monkeypatch.chdir(tmp_path)
    for name in ("nets", "broken", "needs"):
        monkeypatch.delitem(sys.modules, f"brittle_test_{name}", raising=False)
    return "python:brittle_test_nets"


def test_python(nets: str, tmp_path: Path) -> None:
    path = list(sys.path)
    loaded = load_model(f"{nets}:small", input_shape=(1, 4, 4), classes=3)
    assert sys.path == path
    assert not any(m.training for m in loaded.module.modules())
    assert loaded.recipe is None
    assert loaded.notes[0] == f"{nets}:small ran Python code from brittle_test_nets"
    assert load_model(f"{nets}:Holder.ready").module(torch.zeros(1, 16)).shape == (1, 3)
    torch.save({"1.weight": torch.ones(3, 16), "1.bias": torch.ones(3)}, tmp_path / "w.pt")
    assert (load_model(f"{nets}:small", weights=tmp_path / "w.pt").module(torch.ones(1, 16)) == 17).all()


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("brittle_test_nets", "expected python:pkg.module:callable"),
        (":f", "expected python:pkg.module:callable"),
        ("surely_not_here:f", "no module named 'surely_not_here': run from the folder that holds it"),
        ("brittle_test_needs:f", "no module named 'surely_not_installed'"),
        ("brittle_test_broken:f", "importing brittle_test_broken failed: ZeroDivisionError: division by zero"),
        ("brittle_test_nets:absent", "brittle_test_nets has no 'absent'"),
        ("brittle_test_nets:number", "is of type int: expected a callable"),
        ("brittle_test_nets:pair", "returned a tuple: expected an nn.Module"),
        ("brittle_test_nets:wants", "failed when called without arguments: TypeError"),
        ("brittle_test_nets:leaves", "failed when called without arguments: SystemExit"),
    ],
)
def test_python_refuses(nets: str, rest: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_model(f"python:{rest}")
    assert "\n" not in str(caught.value)


def test_logits_are_checked_against_the_data(nets: str) -> None:
    with pytest.raises(ModelError, match=r"fails on inputs of shape 1x5x5 .*use the data that the model was made for"):
        load_model(f"{nets}:small", input_shape=(1, 5, 5))
    with pytest.raises(ModelError, match="returns 3 logits, the data have 10 classes"):
        load_model(f"{nets}:small", input_shape=(1, 4, 4), classes=10)
    with pytest.raises(ModelError, match=r"must return logits \(batch, classes\), got shape \(2, 1, 4, 4\)"):
        load_model(f"{nets}:Maps", input_shape=(1, 4, 4))
    with pytest.raises(ModelError, match=r"must return logits .* got a tuple"):
        load_model(f"{nets}:Two", input_shape=(1, 4, 4))


def _hub_net(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, classes), nn.Dropout())


def _stub_timm() -> ModuleType:
    stub = ModuleType("timm")

    def create_model(name: str, pretrained: bool, num_classes: int = 1000) -> nn.Module:
        assert not pretrained
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})\nsecond line")
        net = _hub_net(num_classes)
        net.pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
        return net

    stub.create_model = create_model  # type: ignore[attr-defined]
    return stub


def _stub_torchvision() -> dict[str, ModuleType]:
    package, models = ModuleType("torchvision"), ModuleType("torchvision.models")

    def get_model(name: str, weights: object, num_classes: int = 1000) -> nn.Module:
        assert weights is None
        if name != "tiny":
            raise ValueError(f"Unknown model {name}\nsecond line")
        return _hub_net(num_classes)

    package.models = models  # type: ignore[attr-defined]
    models.get_model = get_model  # type: ignore[attr-defined]
    return {"torchvision": package, "torchvision.models": models}


@pytest.fixture
def hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins with the same calls: the real packages are extras."""
    for name, module in {"timm": _stub_timm(), **_stub_torchvision()}.items():
        monkeypatch.setitem(sys.modules, name, module)


NORMS = {
    "timm": ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
    "torchvision": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@pytest.mark.usefixtures("hubs")
@pytest.mark.parametrize("hub", list(NORMS))
def test_hubs(hub: str, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    loaded = load_model(f"{hub}:tiny", input_shape=(3, 2, 2), classes=7, seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert isinstance(loaded.module, Pixels)
    mean, std = NORMS[hub]
    torch.testing.assert_close(loaded.module.mean.flatten(), torch.tensor(mean))
    torch.testing.assert_close(loaded.module.std.flatten(), torch.tensor(std))
    assert not any(m.training for m in loaded.module.modules())
    assert loaded.notes == (
        f"normalised inside the model: mean {mean}, std {std}",
        "no --weights: random weights from seed 4",
    )
    assert loaded.recipe == Recipe(f"{hub}:tiny", (3, 2, 2), 7, mean=mean, std=std)
    assert recipe_of(loaded.module) == loaded.recipe
    assert load_model(f"{hub}:tiny").module.model[1].out_features == 1000
    weight = loaded.module.model[1].weight
    torch.rand(1)  # the seed decides, not the global generator
    assert torch.equal(weight, load_model(f"{hub}:tiny", classes=7, seed=4).module.model[1].weight)
    torch.save({"1.weight": torch.ones(7, 12), "1.bias": torch.ones(7)}, tmp_path / "w.pt")
    fitted = load_model(f"{hub}:tiny", weights=tmp_path / "w.pt", classes=7)
    assert (fitted.module.model[1].weight == 1).all()
    with pytest.raises(ModelError, match=f"{hub} cannot make 'none'") as caught:
        load_model(f"{hub}:none")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hub", list(NORMS))
def test_missing_extra_is_named(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, hub, None)
    monkeypatch.delitem(sys.modules, f"{hub}.models", raising=False)
    with pytest.raises(ModelError, match=rf"{hub}:tiny needs {hub} .*pip install 'brittle\[vision\]'"):
        load_model(f"{hub}:tiny")


def test_an_installed_hub_that_fails_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> SimpleNamespace:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("brittle.models.foreign.import_module", fail)
    for hub in NORMS:
        with pytest.raises(ModelError, match=r"torchvision::nms does not exist.*pip install 'brittle\[vision\]'"):
            load_model(f"{hub}:tiny")


def test_first_line() -> None:
    assert first_line(ValueError("one\ntwo")) == "ValueError: one"
    assert first_line(EOFError()) == "EOFError"
    assert len(first_line(ValueError("x" * 999))) < 220
