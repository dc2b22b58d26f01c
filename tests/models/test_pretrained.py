"""Networks that other people trained, through the front door, against the accuracies that ../shared/data documents.

Labels and pixels are decoded here by hand, so that nothing of brittle but the models is under test.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from brittle.models.load import load_model

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
PRETRAINED = SHARED / "pretrained"

pytestmark = pytest.mark.skipif(
    not PRETRAINED.is_dir(), reason="needs the foreign networks in ../shared/data/pretrained"
)

SMALL = "zoo:cnn?channels=16,32&kernel=4&stride=2&padding=1&fc=100&classes=10&input="
GREY = SMALL + "1x28x28"
KW = "3x32x32&mean=0.485,0.456,0.406&std=0.225"
CIFAR = "&input=3x32x32&classes=10&mean=0.4914,0.4822,0.4465&std=0.2471,0.2435,0.2616"
IMAGENET = "&input=3x32x32&classes=10&mean=0.485,0.456,0.406&std=0.229,0.224,0.225"


def _idx(path: Path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


@cache
def _idx_test(folder: str) -> tuple[Tensor, Tensor]:
    x = _idx(SHARED / folder / "t10k-images-idx3-ubyte.gz")
    y = _idx(SHARED / folder / "t10k-labels-idx1-ubyte.gz")
    return torch.from_numpy(x[:, None] / np.float32(255)), torch.from_numpy(y.astype(np.int64))


@cache
def _cifar_test() -> tuple[Tensor, Tensor]:
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    images, labels = [], []
    with tarfile.open(SHARED / "cifar10_jpeg" / "cifar10_test_jpg.tar.gz") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".jpg") else None
            if content is not None:
                images.append(np.asarray(Image.open(io.BytesIO(content.read()))))
                labels.append(names.index(Path(member.name).parent.name))
    x = np.stack(images).transpose(0, 3, 1, 2) / np.float32(255)
    return torch.from_numpy(x), torch.tensor(labels)


def _percent_right(spec: str, weights: str, x: Tensor, y: Tensor) -> float:
    model = load_model(spec, weights=PRETRAINED / weights, input_shape=tuple(x.shape[1:]), classes=10).module
    with torch.no_grad():
        right = sum(int((model(a).argmax(1) == b).sum()) for a, b in zip(x.split(500), y.split(500), strict=True))
    return 100 * right / len(y)


@pytest.mark.parametrize(
    ("folder", "spec", "weights", "percent"),
    [
        ("mnist", GREY, "convex_adversarial/models_mnist.pth", 98.20),
        ("fashion_mnist", GREY, "convex_adversarial/models_fashion_mnist.pth", 78.27),
        ("mnist", GREY, "convex_adversarial/models_scaled_mnist_small_0_3.pth#0", 85.23),
        ("mnist", GREY, "auto_LiRPA/mnist_a_adv.pth", 96.33),
        ("mnist", "zoo:cnn?channels=8,16&fc=256", "auto_LiRPA/mnist_cnn_small.pth", 96.69),
        ("mnist", "zoo:mlp?widths=128,64", "auto_LiRPA/mnist_fc_3layer.pth", 97.52),
    ],
    ids=lambda v: str(v).rsplit("/", 1)[-1] if "/" in str(v) else "",
)
def test_grey_images(folder: str, spec: str, weights: str, percent: float) -> None:
    # 0.05 points: a handful of ties that arithmetic order may turn over
    assert _percent_right(spec, weights, *_idx_test(folder)) == pytest.approx(percent, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "weights", "percent"),
    [
        (SMALL + KW, "convex_adversarial/models_scaled_cifar_small_8px.pth", 27.56),
        (SMALL + KW, "convex_adversarial/models_scaled_l2_cifar_small_36px.pth", 54.14),
        ("zoo:resnet_b?" + CIFAR, "vnncomp2021_cifar10_resnet/resnet2b_model_best.pth", 68.70),
        ("zoo:resnet_b?stem=16&channels=32,32" + CIFAR, "vnncomp2021_cifar10_resnet/resnet4b_model_best.pth", 76.54),
        ("zoo:resnet?depth=20" + IMAGENET, "akamaster_resnet_cifar10/resnet20-12fca82f.th", 81.03),
    ],
    ids=lambda v: str(v).rsplit("/", 1)[-1] if "/" in str(v) else "",
)
def test_colour_images(spec: str, weights: str, percent: float) -> None:
    assert _percent_right(spec, weights, *_cifar_test()) == pytest.approx(percent, abs=0.05)


@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        ("zoo:cnn?channels=8,16&fc=100&classes=10&input=" + KW, "oval21/cifar_base_kw.pth"),
        (
            "zoo:cnn?channels=8,8,8,8&kernel=4,3,3,4&stride=2,1,1,2&fc=100&classes=10&input=" + KW,
            "oval21/cifar_deep_kw.pth",
        ),
        (SMALL + KW, "oval21/cifar_wide_kw.pth"),
        (SMALL + "3x32x32", "convex_adversarial/models_svhn.pth"),
        (
            "zoo:cnn?channels=4,4&kernel=3&stride=1&padding=0&fc=32&classes=10&input=3x32x32",
            "auto_LiRPA/cifar_2c2f.pth",
        ),
        ("zoo:mlp?widths=500&input=561&classes=6", "convex_adversarial/models_har.pth"),
        ("zoo:resnet?depth=32" + IMAGENET, "akamaster_resnet_cifar10/resnet32-d509ac18.th"),
        ("zoo:resnet?depth=44" + IMAGENET, "akamaster_resnet_cifar10/resnet44-014dd654.th"),
        ("zoo:resnet?depth=56" + IMAGENET, "akamaster_resnet_cifar10/resnet56-4bfd9763.th"),
    ],
    ids=lambda v: str(v).rsplit("/", 1)[-1] if "/" in str(v) else "",
)
def test_the_rest_loads(spec: str, weights: str) -> None:
    loaded = load_model(spec, weights=PRETRAINED / weights)
    assert any("by position" in note for note in loaded.notes)
