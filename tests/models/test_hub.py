"""`hf:`: models of transformers from a folder, with what surrounds them; nothing in the folder is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import brittle
from brittle.errors import ModelError
from brittle.models.hub_pixels import hub_pixels
from brittle.models.load import load_model
from brittle.models.pixels import Pixels
from tests.vision import need_torchvision

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
PROCESSOR = {"image_mean": MEAN, "image_std": STD, "do_normalize": True, "size": {"height": 16, "width": 16}}
X = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def kit() -> Any:
    need_torchvision()
    return pytest.importorskip("transformers", reason="transformers is an extra: pip install 'brittle[hub]'")


def vit(kit: Any) -> Any:
    torch.manual_seed(0)
    config = kit.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        num_labels=3,
    )
    return kit.ViTForImageClassification(config).eval()


@pytest.fixture(scope="module")
def folder(kit: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("vit")
    vit(kit).save_pretrained(place)
    (place / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return place


def test_a_classifier_in_a_folder_takes_pixels_and_returns_the_logits_of_its_own_pipeline(
    kit: Any, folder: Path
) -> None:
    loaded = load_model(f"hf:{folder}", input_shape=(3, 16, 16), classes=3)
    by_hand = (X - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(X), vit(kit)(pixel_values=by_hand).logits)
    assert not loaded.module.training
    assert loaded.notes == (
        "normalised inside the model: mean (0.5, 0.4, 0.3), std (0.2, 0.3, 0.4)",
        "made for images of 16 x 16 pixels",
    )


def test_every_weight_of_a_hub_classifier_is_measured_or_listed(folder: Path) -> None:
    rows = brittle.structure(load_model(f"hf:{folder}").module, (3, 16, 16))
    names = " ".join(row.name for row in rows)
    assert all(part in names for part in ("query", "key", "value", "classifier", "projection")) or "q_proj" in names


def test_without_a_processor_pixels_go_in_as_they_are_and_it_is_said(kit: Any, tmp_path: Path) -> None:
    vit(kit).save_pretrained(tmp_path)
    loaded = load_model(f"hf:{tmp_path}", input_shape=(3, 16, 16), classes=3)
    assert loaded.notes == ("no configuration of an image processor: pixels in [0, 1] go in as they are",)
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(X), vit(kit)(pixel_values=X).logits)


def test_weights_of_ones_own_need_the_configuration_alone(kit: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    loaded = load_model(f"hf:{tmp_path}", weights=folder / "model.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(X), vit(kit)(pixel_values=X).logits)


def test_data_of_another_size_or_other_classes_are_refused_before_any_work(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"fails on inputs of shape 3x8x8 .*: use the data that the model was made"):
        load_model(f"hf:{folder}", input_shape=(3, 8, 8))
    with pytest.raises(ModelError, match="returns 3 logits, the data have 10 classes"):
        load_model(f"hf:{folder}", input_shape=(3, 16, 16), classes=10)


def test_pickled_weights_are_not_read(kit: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    torch.save(vit(kit).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no weights as safetensors, and pickled ones are not read.*--weights F"):
        load_model(f"hf:{tmp_path}")


def test_code_in_a_repository_is_never_run(tmp_path: Path, kit: Any) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass C: pass\n")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "never-heard-of", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.C"}})
    )
    with pytest.raises(ModelError, match="needs Python code of its own repository, which is never run"):
        load_model(f"hf:{tmp_path}")
    assert not mark.exists()


def test_a_backbone_without_its_classifier_is_refused_instead_of_drawn_at_random(kit: Any, tmp_path: Path) -> None:
    net = vit(kit)
    net.vit.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"architectures": ["ViTForImageClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"lacks \d+ weights of the classifier, the first 'classifier"):
        load_model(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("rest", "message"),
    [("", "names no model"), ("./no/such/folder", r"cannot be loaded .* the hub within reach")],
)
def test_names_that_lead_nowhere_are_one_line(kit: Any, rest: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        load_model(f"hf:{rest}")
    assert "\n" not in str(refused.value)


def test_without_transformers_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(f"no {name}")

    monkeypatch.setattr("brittle.models.hub.import_module", absent)
    with pytest.raises(ModelError, match=r"hf:any needs transformers .* pip install 'brittle\[hub\]'"):
        load_model("hf:any")


def test_a_text_encoder_is_there_for_its_structure_alone(kit: Any, tmp_path: Path) -> None:
    config = kit.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=20
    )
    net = kit.BertModel(config)
    net.save_pretrained(tmp_path)
    loaded = load_model(f"hf:{tmp_path}")
    assert loaded.notes[0] == "no image classifier: structure only"
    matrices = sum(p.dim() == 2 for name, p in net.named_parameters())
    assert len(brittle.structure(loaded.module)) == matrices  # word, position and type tables are embeddings
    with pytest.raises(ModelError, match=r"is a BertModel, which takes no images: only its structure"):
        load_model(f"hf:{tmp_path}", input_shape=(3, 16, 16))


@pytest.mark.parametrize(
    "config",
    [
        PROCESSOR,
        {"image_mean": 0.5, "image_std": 0.25},
        {"do_normalize": False, "image_mean": MEAN, "image_std": STD},
        {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False},
        {"rescale_factor": 1 / 127.5, "rescale_offset": True, "image_mean": MEAN, "image_std": STD},
        {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    ],
)
def test_one_mean_and_std_stand_for_rescaling_offset_and_normalisation(config: dict[str, Any]) -> None:
    x = 255 * X.double()
    if config.get("do_rescale", True):
        x = x * config.get("rescale_factor", 1 / 255) - (1.0 if config.get("rescale_offset") else 0.0)
    if config.get("do_normalize", "image_mean" in config):
        mean, std = (torch.tensor(config[k]).double().view(-1, 1, 1) for k in ("image_mean", "image_std"))
        x = (x - mean) / std
    found = hub_pixels(config)
    made = Pixels(found.mean, found.std, torch.nn.Identity()).double()
    torch.testing.assert_close(made(X.double()), x, rtol=1e-6, atol=1e-6)


def test_sizes_are_read_in_all_their_forms() -> None:
    assert hub_pixels({"size": 32}).size == (32, 32)
    assert hub_pixels({"size": {"shortest_edge": 40}}).size == (40, 40)
    assert hub_pixels({"size": 40, "do_center_crop": True, "crop_size": {"height": 24, "width": 32}}).size == (24, 32)
    assert hub_pixels({}).size is None
    with pytest.raises(ModelError, match=r"image processor's configuration cannot be read .*expected numbers"):
        hub_pixels({"image_mean": "grey", "image_std": 1})
