"""Sensitive directions of ResNet-18 at 224 x 224: seconds, residuals and memory.

    OMP_NUM_THREADS=1 python -m benchmarks.directions [--images 64] [--k 8] [--budget 112] [--batch-size 8] [--nets ...]

Nets: `random`, torchvision's own initialisation, and `decaying`, the same with the singular values of every kernel
scaled to 1/i at equal Frobenius norm. No weights are downloaded, so both are untrained, with batch norm statistics
taken from the images; they bound the cost and show how the iteration fares on a flat and on a steep spectrum, they say
nothing about trained networks. Images are CIFAR-10 test images (JPEG) enlarged to 224 x 224 where they are found, else
noise; as many again are scored. Seconds are CPU seconds, memory is the process's peak so far (so run one net at a time
for its own).
"""

from __future__ import annotations

import argparse
import resource
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.data.load import load_data
from brittle.directions.network import network_directions
from brittle.errors import DataError
from brittle.models.load import load_model

CIFAR = "cifar10:../shared/data/cifar10_jpeg"
NETS = ("random", "decaying")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--budget", type=int, default=112)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    options = parser.parse_args()
    x, source = images(2 * options.images)
    print(f"{options.images} images fitted and as many scored ({source}), k = {options.k}, untrained weights")
    for name in options.nets:
        model = resnet18()
        if name == "decaying":
            decay(model)
        settle(model, x[:32])
        measure(name, model, x, options)


def measure(name: str, model: nn.Module, x: Tensor, options: argparse.Namespace) -> None:
    """Find the directions of one net and print what it took."""
    started = time.process_time()

    def told(stage: str, done: int, total: int) -> None:
        print(f"  {name}, {stage} {done}/{total}: {time.process_time() - started:.0f} CPU s", flush=True)

    found, _ = network_directions(
        model,
        x[::2],
        None,
        x[1::2],
        None,
        k=options.k,
        batch_size=options.batch_size,
        budget=options.budget,
        progress=told,
    )
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"\n{name}: {seconds:.0f} CPU s, {found.products} products, peak memory {peak:.2f} GB, trace {found.trace:.4g} "
        f"({found.trace_status}, standard error {found.trace_error:.1%})"
    )
    print(f"{'i':>3}{'energy':>12}{'share':>9}{'scored':>9}{'residual':>11}")
    for i, d in enumerate(found.directions):
        print(f"{i:3}{d.energy:12.4g}{d.share:9.3%}{d.scored_share:9.3%}{d.residual:11.1e}")
    first = max(d.residual for d in found.directions[:4])
    print(f"first four within 1e-2: {first <= 1e-2}; within 900 CPU s: {seconds <= 900}; under 6 GB: {peak < 6}")


def resnet18() -> nn.Module:
    """torchvision's ResNet-18 with random weights, pixels normalised inside."""
    _register_missing_operators()
    return load_model("torchvision:resnet18", seed=0).module


def decay(model: nn.Module) -> None:
    """Scale the singular values of every convolution's flattened kernel to 1/i, keeping its Frobenius norm."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                u, s, vt = torch.linalg.svd(module.weight.flatten(1), full_matrices=False)
                steep = 1.0 / torch.arange(1, len(s) + 1)
                steep *= s.norm() / steep.norm()
                module.weight.copy_(((u * steep) @ vt).view_as(module.weight))


def settle(model: nn.Module, x: Tensor) -> None:
    """Give batch norm the statistics of the images x, as training would; without them deep random nets explode."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    with torch.no_grad():
        for part in x.split(16):
            model(part)
    model.eval()


def images(n: int) -> tuple[Tensor, str]:
    """n images (n, 3, 224, 224) in [0, 1] and where they come from."""
    try:
        split = load_data(CIFAR).split("test").take(n, 0)
    except DataError:
        return torch.rand(n, 3, 224, 224, generator=torch.Generator().manual_seed(0)), "noise: no images found"
    x = F.interpolate(split.x, size=(224, 224), mode="bilinear", align_corners=False)
    return x.clamp(0, 1), "CIFAR-10 test images, JPEG, enlarged"


def _register_missing_operators() -> None:
    """Let torchvision be imported beside a torch that its compiled operators were not built for."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        try:
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        except RuntimeError:  # it is there
            continue
    global _kept  # the schemas vanish with the library object
    _kept = library


if __name__ == "__main__":
    main()
