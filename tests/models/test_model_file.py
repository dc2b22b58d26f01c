"""Model files: round trips, and everything that is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from brittle.errors import ModelError
from brittle.models.file import load, read_marks, save
from brittle.models.recipe import Recipe, build, recipe_of

RECIPES = [
    Recipe("mlp", (1, 4, 4), 3, {"widths": [6, 5], "ranks": [2, 0]}),
    Recipe("cnn", (3, 8, 8), 4, {"channels": [4], "batch_norm": True}, (0.1, 0.2, 0.3), (0.5,)),
    Recipe("resnet", (3, 8, 8), 4, {"depth": 8, "width": 2}),
    Recipe("resnet_b", (3, 8, 8), 4, {"stem": 2, "channels": 3}),
]


def _small() -> nn.Module:
    return build(Recipe("mlp", (4,), 3, {"width": 5}, (0.5,), (0.5,)), seed=3)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.architecture)
def test_round_trip(recipe: Recipe, tmp_path: Path) -> None:
    model = build(recipe, seed=5)
    x = torch.rand(2, *recipe.input_shape)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    save(model.train(), tmp_path / "net.safetensors")
    assert model.training
    loaded = load(tmp_path / "net.safetensors")
    assert recipe_of(loaded) == recipe
    assert not any(m.training for m in loaded.modules())
    assert torch.equal(loaded(x), model.eval()(x))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())
    assert all(p.requires_grad for p in loaded.parameters())
    assert list(tmp_path.iterdir()) == [tmp_path / "net.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_dtype_is_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    save(_small().to(dtype), tmp_path / "net.safetensors")
    assert {v.dtype for v in load(tmp_path / "net.safetensors").state_dict().values()} == {dtype}


def test_file_is_plain_safetensors(tmp_path: Path) -> None:
    save(_small(), tmp_path / "net.safetensors")
    with safetensors.safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        recipe = json.loads(file.metadata()["brittle.recipe"])
    assert recipe["architecture"] == "mlp"
    assert sorted(load_file(tmp_path / "net.safetensors")) == sorted(_small().state_dict())


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "net.safetensors"
    save(_small(), place)
    old = place.read_bytes()

    def half(state: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("brittle.models.file.save_file", half)
    with pytest.raises(ModelError, match=r"cannot write .*disk full"):
        save(_small(), place)
    assert place.read_bytes() == old
    assert list(tmp_path.iterdir()) == [place]


def test_a_reader_of_the_old_file_never_meets_the_new_one(tmp_path: Path) -> None:
    place = tmp_path / "net.safetensors"
    save(build(RECIPES[0], seed=1), place)
    old = place.read_bytes()
    with place.open("rb") as reader:
        save(build(RECIPES[1], seed=1), place)
        assert reader.read() == old
    assert place.read_bytes() != old


def test_save_refuses(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"a model file ends in \.safetensors, got 'net\.pt': choose net\.safetensors"):
        save(_small(), tmp_path / "net.pt")
    with pytest.raises(ModelError, match="carries no recipe"):
        save(nn.Linear(2, 2), tmp_path / "net.safetensors")
    with pytest.raises(ModelError, match=r"cannot write .*choose a folder that exists"):
        save(_small(), tmp_path / "missing" / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_save_refuses_weights_that_the_recipe_does_not_describe(tmp_path: Path) -> None:
    place = tmp_path / "net.safetensors"
    model = _small()
    model.model.fc1 = nn.Linear(4, 6)
    with pytest.raises(
        ModelError, match=r"weight 'model.fc1.weight' of the model has shape \(6, 4\), its recipe says \(5, 4\)"
    ):
        save(model, place)
    model = _small()
    model.extra = nn.Linear(1, 1)
    with pytest.raises(ModelError, match=r"the model has a weight 'extra.weight' that its recipe does not describe"):
        save(model, place)
    model = _small()
    model.model.fc1 = nn.Linear(4, 5, bias=False)
    with pytest.raises(ModelError, match=r"the model lacks weight 'model.fc1.bias' of shape \(5,\)"):
        save(model, place)
    model = _small()
    model.model.fc1.double()
    with pytest.raises(ModelError, match=r"mixes number types \(torch.float32, torch.float64\)"):
        save(model, place)
    model = _small()
    with torch.no_grad():
        model.model.head.bias[1] = float("nan")
    with pytest.raises(ModelError, match=r"weight 'model.head.bias' holds NaN or infinity in 1 of 3 entries"):
        save(model, place)
    assert not place.exists()


def _write(path: Path, change: dict[str, torch.Tensor | None], recipe: str | None) -> Path:
    state = _small().state_dict()
    for name, value in change.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    save_file(state, path, metadata=None if recipe is None else {"brittle.recipe": recipe})
    return path


def test_load_refuses(tmp_path: Path) -> None:
    place = tmp_path / "net.safetensors"
    good = json.dumps(recipe_of(_small()).to_dict())  # type: ignore[union-attr]
    load(_write(place, {}, good))
    cases: list[tuple[dict[str, torch.Tensor | None], str | None, str]] = [
        ({}, None, "holds weights but no recipe: name its architecture, as in zoo:mlp"),
        ({}, "{", "has a recipe that is not JSON"),
        ({}, "[]", "not a valid Recipe record"),
        ({}, good.replace('"mlp"', '"resnext"'), "unknown architecture 'resnext'"),
        ({}, good.replace('"width": 5', '"width": 1000000000'), r"its recipe says \(1000000000, 4\)"),
        ({"model.fc1.weight": None}, good, "lacks weight 'model.fc1.weight'"),
        ({"model.fc9.weight": torch.zeros(1)}, good, "has a weight 'model.fc9.weight' that its recipe does not"),
        ({"model.fc1.bias": torch.zeros(7)}, good, r"has shape \(7,\), its recipe says \(5,\)"),
        ({"model.fc1.bias": torch.full((5,), float("inf"))}, good, "NaN or infinity in 5 of 5 entries"),
        ({"model.fc1.bias": torch.zeros(5, dtype=torch.int8)}, good, "mixes number types"),
    ]
    for change, recipe, message in cases:
        with pytest.raises(ModelError, match=message) as caught:
            load(_write(place, change, recipe))
        assert "\n" not in str(caught.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        load(tmp_path / "none.safetensors")
    place = tmp_path / "net.safetensors"
    save(_small(), place)
    whole = place.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"not safetensors at all, only text"):
        place.write_bytes(broken)
        with pytest.raises(ModelError, match="is not a safetensors file"):
            load(place)


def test_marks_are_kept_beside_the_weights(tmp_path: Path) -> None:
    place = tmp_path / "net.safetensors"
    model = _small()
    save(model, place, marks={"brittle.gate": "exceeded", "method": "l2, 1/8 \u2113"})
    assert read_marks(place) == {"brittle.gate": "exceeded", "method": "l2, 1/8 \u2113"}
    again = load(place)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    save(again, place)
    assert read_marks(place) == {}


def test_marks_are_read_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "net.safetensors"
    save(_small(), place, marks={"a": "b"})
    content = bytearray(place.read_bytes())
    content[-4:] = b"\xff\xff\xff\xff"  # NaN in the last weight: reading it would be refused
    place.write_bytes(content)
    assert read_marks(place) == {"a": "b"}
    with pytest.raises(ModelError, match="NaN"):
        load(place)


@pytest.mark.parametrize("marks", ["{", "[1]", '{"a": 1}', "null"])
def test_marks_that_are_no_words(tmp_path: Path, marks: str) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "net.safetensors", metadata={"brittle.marks": marks})
    with pytest.raises(ModelError, match="has marks that cannot be read, expected words by name"):
        read_marks(tmp_path / "net.safetensors")


def test_marks_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        read_marks(tmp_path / "absent.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="is not a safetensors file"):
        read_marks(tmp_path / "broken.safetensors")
