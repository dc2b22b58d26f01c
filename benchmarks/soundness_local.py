"""Certified pairs of input and radius against Auto-PGD with restarts: every broken pair is a bug.

    OMP_NUM_THREADS=1 python -m benchmarks.soundness_local --cases 10000 --seed 0

Networks: random ones with dense layers, convolutions, residual sums, both poolings and several activations, and trained
perceptrons on digits. Each input's certified radius comes from bisection, so attacks start where certificates end.
Inputs are attacked in groups of similar radius, at the smallest radius of the group.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import APGD
from brittle.attacks.targeted import TargetedAPGD
from brittle.bounds.local import certified_radii_local
from brittle.data.load import load_data
from brittle.evaluation.accuracy import attack_survivors
from brittle.models.recipe import Recipe, build
from brittle.operators.network import read_network
from brittle.threats import ball
from brittle.training.loop import Budget, fit

ACTIVATIONS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU)
LARGEST = {"linf": 0.3, "l2": 3.0}
ATTACKS = (APGD(steps=50, restarts=2), APGD(steps=50, loss="dlr"), TargetedAPGD(steps=30, targets=3))
INPUTS, GROUP = 300, 30


class Residual(nn.Module):
    def __init__(self, act: type[nn.Module], pool: nn.Module) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.act, self.pool, self.head = act(), pool, nn.Linear(6 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.stem(x))
        return self.head(self.pool(self.act(self.conv(h) + h)).flatten(1))


def network(seed: int) -> tuple[nn.Module, str]:
    torch.manual_seed(seed)
    act = ACTIVATIONS[seed // 3 % len(ACTIVATIONS)]
    if seed % 3 == 0:
        data = load_data("digits")
        model = build(
            Recipe("mlp", data.input_shape, 10, {"width": 20 + 10 * (seed % 7), "depth": 1 + seed % 3}), seed=seed
        )
        return fit(model, data.split("train"), data.split("validation"), Budget(epochs=8), seed=seed), "digits mlp"
    if seed % 3 == 1:
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), act(), nn.Linear(40, 30), act(), nn.Linear(30, 10))
        return model, f"random mlp {act.__name__}"
    pool = nn.MaxPool2d(2) if seed % 2 else nn.AvgPool2d(2)
    return Residual(act, pool), f"random residual {act.__name__} {type(pool).__name__}"


def main(cases: int, seed: int) -> int:
    start, done, violations, number = time.process_time(), 0, 0, 0
    images = load_data("digits").split("test").x
    while done < cases:
        model, name = network(seed * 10_000 + number)
        model = model.double().eval()
        x = images[torch.randperm(len(images))[:INPUTS]].double()
        graph = read_network(model, (1, 8, 8)).graph
        assert graph is not None
        with torch.no_grad():
            y = model(x).argmax(1)  # whatever it says now: all inputs count
        for norm, largest in LARGEST.items():
            radii = certified_radii_local(graph, x, y, norm, largest, steps=8, batch_size=INPUTS)
            order = radii.argsort()
            order = order[radii[order] > 1e-4]
            for part in order.split(GROUP) if len(order) else ():
                epsilon = float(radii[part].min())
                survived = attack_survivors(
                    model, x[part], y[part], ball(norm, epsilon), ATTACKS, batch_size=GROUP, seed=seed
                ).survived
                done += len(part)
                broken = int((~survived).sum())
                violations += broken
                if broken:
                    where = f"network {seed * 10_000 + number} ({name}), {norm} {epsilon}"
                    print(f"VIOLATION: {where}, inputs {part.tolist()}", flush=True)
        number += 1
        print(
            f"{done:6} pairs, {number} networks, {violations} violations, {time.process_time() - start:.0f} s  {name}",
            flush=True,
        )
    return violations


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    raise SystemExit(1 if main(given.cases, given.seed) else 0)
