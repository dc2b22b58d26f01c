"""Architectures of other packages in recipes: saved and loaded by name, never by code or download."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.models.file import load, save
from brittle.models.foreign import FOREIGN, bare_net
from brittle.models.load import load_model
from brittle.models.recipe import Recipe, build, recipe_of, skeleton
from tests.vision import need_timm, need_torchvision


class Net(nn.Module):
    """Computes with a tensor while it is built, keeps one that no file holds, and one where its weights are."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(12, classes)
        shares = [share.item() for share in torch.linspace(0, 1, 12)]
        self.register_buffer("shares", torch.tensor(shares), persistent=False)
        self.register_buffer("steps", torch.arange(12.0, device=self.head.weight.device), persistent=False)
        self.register_buffer("seen", torch.zeros(12))

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, 2, 2) -> (b, classes)."""
        return self.head(x.flatten(1) * self.shares + self.steps + self.seen)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for timm."""
    stub = ModuleType("timm")

    def create_model(name: str, pretrained: bool, num_classes: int = 4) -> nn.Module:
        assert not pretrained
        net = Net(num_classes)
        net.default_cfg = {"mean": (0.5,) * 3, "std": (0.2,) * 3, "input_size": (3, 2, 2), "num_classes": 4}
        return net

    stub.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", stub)
    return stub


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_saved_and_loaded(tmp_path: Path, kind: torch.dtype) -> None:
    loaded = load_model("timm:net", seed=3)
    assert loaded.recipe == Recipe("timm:net", (3, 2, 2), 4, mean=(0.5,) * 3, std=(0.2,) * 3)
    model = loaded.module.to(kind)
    save(model, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    x = torch.rand(2, 3, 2, 2, dtype=kind)
    assert torch.equal(again(x), model(x))
    assert again(x).dtype == kind
    assert recipe_of(again) == loaded.recipe
    assert torch.equal(build(loaded.recipe, seed=3).to(kind)(x), model(x))


@pytest.mark.usefixtures("hub")
def test_the_skeleton_has_no_weights_but_what_no_file_holds() -> None:
    net = bare_net("timm", "net", 10**7)
    assert [name for name, p in net.named_parameters() if not p.is_meta] == []
    assert net.head.weight.shape == (10**7, 12)
    torch.testing.assert_close(net.shares, torch.linspace(0, 1, 12))
    assert torch.equal(net.steps, torch.arange(12.0))
    assert nn.Linear(1, 1).weight.device.type == "cpu"
    state = torch.random.get_rng_state()
    skeleton(Recipe("timm:net", (3, 2, 2), 4))
    assert torch.equal(state, torch.random.get_rng_state())


def test_modules_are_made_as_before_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str, classes: int | None) -> nn.Module:
        raise ModelError("no")

    monkeypatch.setitem(FOREIGN, "timm", fails)
    with pytest.raises(ModelError, match="no"):
        bare_net("timm", "net", 2)
    assert nn.Linear(1, 1).weight.device.type == "cpu"


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("hub:net", {}, "unknown architecture 'hub:net': expected one of mlp, .*, or a name after torchvision:, timm:"),
        ("timm:hf-hub:someone/net", {}, "cannot read the architecture .*expected a plain name, as in timm:NAME"),
        ("timm:../net", {}, "expected a plain name"),
        ("torchvision:", {}, "expected a plain name"),
        ("timm:net", {"pretrained": True}, "timm:net takes no options, got pretrained: leave them out"),
        ("python:os:system", {}, "unknown architecture 'python:os:system'"),
    ],
)
def test_recipes_name_models_of_two_packages_only(architecture: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        Recipe(architecture, (3, 2, 2), 4, options)
    assert "\n" not in str(caught.value)


def test_a_file_needs_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {"architecture": "timm:net", "input_shape": [3, 2, 2], "classes": 4, "options": {}}
    place = tmp_path / "net.safetensors"
    save_file({"w": torch.zeros(1)}, place, metadata={"brittle.recipe": json.dumps(recipe)})
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"timm:net needs timm .*pip install 'brittle\[vision\]'") as caught:
        load(place)
    assert "\n" not in str(caught.value)


def test_where_there_can_be_no_recipe_there_is_none(hub: ModuleType) -> None:
    make = hub.create_model  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="fails on inputs of shape 2x2x2"):  # the model's own refusal, as without one
        load_model("timm:net", input_shape=(2, 2, 2))
    assert load_model("timm:hf-hub:someone/net", classes=3).recipe is None

    def without_classes(name: str, pretrained: bool) -> nn.Module:
        net = make(name, pretrained)
        net.default_cfg["num_classes"] = 0
        return net

    hub.create_model = without_classes  # type: ignore[attr-defined]
    assert load_model("timm:net").recipe is None


@pytest.mark.usefixtures("hub")
def test_grey_images_meet_a_normalisation_of_three_channels(tmp_path: Path) -> None:
    loaded = load_model("timm:net", input_shape=(1, 2, 2), classes=5)
    assert loaded.recipe is not None
    assert loaded.recipe.input_shape == (1, 2, 2)
    save(loaded.module, tmp_path / "net.safetensors")
    x = torch.rand(2, 1, 2, 2)
    assert torch.equal(load(tmp_path / "net.safetensors")(x), loaded.module(x))
    with pytest.raises(ModelError, match="mean has 3 entries for 2 channels"):
        Recipe("timm:net", (2, 2, 2), 5, mean=(0.5,) * 3, std=(0.2,) * 3)


def test_defaults_of_torchvision() -> None:
    need_torchvision()
    recipe = load_model("torchvision:mobilenet_v3_small").recipe
    assert recipe is not None
    assert (recipe.input_shape, recipe.classes) == ((3, 224, 224), 1000)


def test_buffers_of_windows_are_there_after_loading(tmp_path: Path) -> None:
    """A real net with tensors that no state dict holds, some of them made where the weights are."""
    need_timm()
    model = load_model("timm:swin_tiny_patch4_window7_224", classes=3).module
    save(model, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
