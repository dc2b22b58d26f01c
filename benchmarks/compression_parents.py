"""The parents of the compression table: networks, data, threats, and the recovery that every row of one is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.adversarial_training import LONG, THREAT
from benchmarks.nets import CIFAR10, FASHION, KEPT, NETS, fashion_cnn_recipe
from torch import nn

from brittle.data.load import load_data
from brittle.models.file import load, save
from brittle.models.recipe import Recipe, build
from brittle.threats import LinfBall
from brittle.training.adversarial import PGDTraining
from brittle.training.engine import train
from brittle.training.objective import CrossEntropy
from brittle.training.plan import Plan
from brittle.training.protocols import Objective
from brittle.training.recovery.settings import Recovery

SMALL = LinfBall(2 / 255)


@dataclass(frozen=True)
class Parent:
    """A network to be made smaller.

    Attributes:
        title: of its part of the page.
        data: DATA string.
        shape: of one image.
        threat: the ball that plans defend against and recovery attacks in.
        radii: scored, in 1/255.
        recovery: the same for every row.
        from_scratch: rate of rows that begin with fresh weights, or with softened ones.
        svd: layers that truncated SVD cuts: not the first convolution, not the head.
        head: the last layer.
        narrow: a share of all widths -> the recipe of the same net at it.
        model: the network, made or read.
    """

    title: str
    data: str
    shape: tuple[int, ...]
    threat: LinfBall
    radii: tuple[int, ...]
    recovery: Recovery
    from_scratch: float
    svd: tuple[str, ...]
    head: str
    narrow: Callable[[float], Recipe]
    model: Callable[[], nn.Module]


def _fashion(name: str) -> nn.Module:
    """Parent A or B, trained once and kept; about one and seven CPU minutes."""
    kept = KEPT / f"compression-{name}.safetensors"
    if not kept.exists():
        data = load_data(FASHION)
        objective: Objective = {"A": CrossEntropy(), "B": PGDTraining(THREAT, steps=5, step_size=0.5)}[name]
        how = {"A": LONG, "B": replace(LONG, epochs=10)}[name]
        model = build(fashion_cnn_recipe(), seed=0)
        train(model, data.split("train"), data.split("validation"), Plan(how, objective), seed=0)
        KEPT.mkdir(exist_ok=True)
        save(model.eval(), kept)
    return load(kept)


def _narrow_cnn(share: float) -> Recipe:
    sizes = {"channels": (round(32 * share), round(64 * share)), "fc": (round(96 * share),)}
    return replace(fashion_cnn_recipe(), options=sizes)


def _narrow_resnet(share: float) -> Recipe:
    sizes = {"stem": round(8 * share), "channels": (round(16 * share),), "fc": (round(100 * share),)}
    pixels = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2471, 0.2435, 0.2616)}
    return Recipe("resnet_b", (3, 32, 32), 10, sizes, **pixels)


_CNN = {"data": FASHION, "shape": (1, 28, 28), "svd": ("conv2", "fc1"), "head": "head", "narrow": _narrow_cnn}
PARENTS: dict[str, Parent] = {
    # Two epochs of plain training.
    "A": Parent(
        "Parent A, trained plainly",
        threat=THREAT,
        radii=(2, 4, 8),
        recovery=Recovery("plain", 2.0, learning_rate=5e-4),
        from_scratch=2e-3,
        model=lambda: _fashion("A"),
        **_CNN,
    ),
    # One epoch of its own adversarial training: half of each batch, five steps.
    "B": Parent(
        "Parent B, adversarially trained at l_inf 8/255",
        threat=THREAT,
        radii=(8,),
        recovery=Recovery("adversarial", 3.5, THREAT, steps=5, step_size=0.5, share=0.5, learning_rate=2e-3),
        from_scratch=2e-3,
        model=lambda: _fashion("B"),
        **_CNN,
    ),
    # Two epochs of adversarial training: every image, three steps.
    "R": Parent(
        "ResNet-2B of VNN-COMP 2021, adversarially trained at l_inf 2/255, on CIFAR-10 as JPEG",
        CIFAR10,
        (3, 32, 32),
        SMALL,
        (2,),
        Recovery("adversarial", 8.0, SMALL, steps=3, step_size=0.8, learning_rate=2e-3),
        2e-3,
        ("model.fc1",),
        "model.head",
        _narrow_resnet,
        NETS["resnet2b"].make,
    ),
}
