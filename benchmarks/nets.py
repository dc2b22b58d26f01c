"""Nets that several benchmarks share, trained once and kept in benchmarks/.nets (ignored by git)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.attacks.gradient import input_gradient
from brittle.attacks.losses import cross_entropy
from brittle.data.load import load_data
from brittle.models.file import load, save
from brittle.models.load import load_model
from brittle.models.recipe import Recipe, build

KEPT = Path(__file__).parent / ".nets"
SHARED = "../shared/data"
FASHION, MNIST = f"fashion-mnist:{SHARED}/fashion_mnist", f"mnist:{SHARED}/mnist"
CIFAR10 = f"cifar10:{SHARED}/cifar10_jpeg"
# Light adversarial training: random-start single steps (Wong et al. 2020) at this l_inf radius.
RADIUS, EPOCHS, BATCH, RATE = 0.1, 3, 128, 1e-3


def light_cnn(seed: int = 0) -> nn.Module:
    """A convolutional net for Fashion-MNIST (166 k parameters), adversarially trained lightly; about 2 CPU minutes."""
    kept = KEPT / f"light-cnn-{seed}.safetensors"
    if kept.exists():
        return load(kept)
    data = load_data(FASHION)
    train = data.split("train")
    model = build(Recipe("cnn", data.input_shape, len(data.classes), {}), seed=seed).train()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    steps = EPOCHS * (len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3 * RATE, total_steps=steps)
    started = time.process_time()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(train), generator=generator)[: steps // EPOCHS * BATCH].split(BATCH):
            x, y = train.x[chosen], train.y[chosen]
            start = (x + RADIUS * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1)
            _, _, gradient = input_gradient(model, start, y, cross_entropy)
            delta = (start + 1.25 * RADIUS * gradient.sign() - x).clamp(-RADIUS, RADIUS)
            loss = F.cross_entropy(model((x + delta).clamp(0, 1)), y)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    print(f"trained the light CNN, seed {seed}, in {time.process_time() - started:.0f} CPU s", flush=True)
    KEPT.mkdir(exist_ok=True)
    save(model.eval(), kept)
    return model


@dataclass(frozen=True)
class Subject:
    """A net, the data it was trained for, and radii at which attacks of it are neither trivial nor hopeless."""

    make: Callable[[], nn.Module]
    data: str
    radii: Mapping[str, float]

    def load(self, split: str, samples: int, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
        """The net held still, and samples x (n, *shape), y (n,) of the split, shuffled by the seed."""
        chosen = load_data(self.data).split(split).take(samples, seed)
        return self.make().eval().requires_grad_(False), chosen.x.float(), chosen.y


def _foreign(spec: str, weights: str) -> nn.Module:
    return load_model(spec, weights=f"{SHARED}/pretrained/{weights}").module


_SMALL = "zoo:cnn?channels=16,32&kernel=4&stride=2&padding=1&fc=100&classes=10&input=1x28x28"
_VNN = "&input=3x32x32&classes=10&mean=0.4914,0.4822,0.4465&std=0.2471,0.2435,0.2616"
_RESNET20 = "zoo:resnet?depth=20&input=3x32x32&classes=10&mean=0.485,0.456,0.406&std=0.229,0.224,0.225"

# Adversarially trained: light, resnet2b, a_adv. Trained to be certified: convex. The others plainly.
NETS: dict[str, Subject] = {
    "light": Subject(light_cnn, FASHION, {"linf": 0.1, "l2": 1.0}),
    "resnet2b": Subject(
        partial(_foreign, "zoo:resnet_b?" + _VNN, "vnncomp2021_cifar10_resnet/resnet2b_model_best.pth"),
        CIFAR10,
        {"linf": 2 / 255, "l2": 0.25},
    ),
    "a_adv": Subject(partial(_foreign, _SMALL, "auto_LiRPA/mnist_a_adv.pth"), MNIST, {"linf": 0.3}),
    "convex": Subject(
        partial(_foreign, _SMALL, "convex_adversarial/models_scaled_mnist_small_0_3.pth"), MNIST, {"linf": 0.3}
    ),
    "mnist_cnn": Subject(
        partial(_foreign, "zoo:cnn?channels=8,16&fc=256&input=1x28x28&classes=10", "auto_LiRPA/mnist_cnn_small.pth"),
        MNIST,
        {"linf": 0.1, "l2": 1.0},
    ),
    "mnist_fc": Subject(
        partial(_foreign, "zoo:mlp?widths=128,64&input=1x28x28&classes=10", "auto_LiRPA/mnist_fc_3layer.pth"),
        MNIST,
        {"linf": 0.03, "l2": 0.5},
    ),
    "resnet20": Subject(
        partial(_foreign, _RESNET20, "akamaster_resnet_cifar10/resnet20-12fca82f.th"),
        CIFAR10,
        {"linf": 0.5 / 255, "l2": 0.1},
    ),
}


def fashion_cnn_recipe() -> Recipe:
    """The net of the training benchmarks: a convolutional net for Fashion-MNIST with 335 k parameters."""
    return Recipe("cnn", (1, 28, 28), 10, {"channels": (32, 64), "fc": (96,)})
