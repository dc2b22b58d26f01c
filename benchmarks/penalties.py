"""What does a nuclear-norm penalty cost? One 2000 x 3072 layer and a head, CIFAR-10, batch 100, AdamW, cosine schedule.

    OMP_NUM_THREADS=1 python -m benchmarks.penalties [--quick] [--all] [--steps 200] [--width 2000] [--strength 1e-3]

CPU seconds on one thread, all in one run; --quick: a narrow layer and few steps, to see that it works. Three steps
stand for the decomposition with autograd, whose cost hardly depends on the weights, or with --all every step (14
minutes more for the wide layer); other means are over all steps but the first two, which set up memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from benchmarks.nets import CIFAR10
from torch import Tensor, nn

from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.training.penalties.nuclear import FastNuclear, Nuclear
from brittle.training.penalties.polar import polar_factor
from brittle.training.schedules import cosine

BATCH, RATE, WARM_UP = 100, 1e-3, 2
# The layer's weight -> what is added to the loss, before its strength.
Added = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Course:
    """CPU seconds of every step, the layer at the end, the mean loss of the last 20 batches."""

    seconds: list[float]
    weight: Tensor
    loss: float

    @property
    def mean(self) -> float:
        """CPU seconds of a step, without the first ones, in which memory is set up."""
        later = self.seconds[WARM_UP:]
        return sum(later) / len(later)

    def nuclear(self) -> float:
        return float(torch.linalg.svdvals(self.weight.double()).sum())


def decomposed(weights: Sequence[Tensor]) -> Tensor:
    """The nuclear norm as torch's own decomposition and autograd give it."""
    return torch.linalg.svdvals(weights[0]).sum()


def course(data: Split, width: int, steps: int, horizon: int, strength: float, added: Added | None) -> Course:
    """The first `steps` of `horizon` steps from one start, with one order of the samples."""
    torch.manual_seed(0)
    layer = nn.Linear(data.x[0].numel(), width)
    net = nn.Sequential(nn.Flatten(), layer, nn.ReLU(), nn.Linear(width, 10))
    weight = layer.weight
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    seconds, losses = [], []
    for step, rate in enumerate(cosine(RATE, horizon)[:steps]):
        for group in optimiser.param_groups:
            group["lr"] = rate
        chosen = order[torch.arange(step * BATCH, (step + 1) * BATCH) % len(order)]
        x, y = data.x[chosen], data.y[chosen]
        started = time.process_time()
        loss = F.cross_entropy(net(x), y)
        total = loss if added is None else loss + strength * added([weight])
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        seconds.append(time.process_time() - started)
        losses.append(float(loss.detach()))
    return Course(seconds, weight.detach().clone(), sum(losses[-20:]) / len(losses[-20:]))


@dataclass(frozen=True)
class Gradients:
    """CPU seconds of the gradient alone, medians, and how far ours is from autograd's.

    `apart`: relative, Frobenius. `above`: the largest error of a singular value of ours (1 in truth) where that of the
    weight is at least 1e-3 of the largest; `below`: the share of those that are smaller.
    """

    ours: float
    theirs: float
    apart: float
    above: float
    below: float


def gradients(weight: Tensor, times: int) -> Gradients:
    ours, theirs = [], []
    leaf = weight.clone().requires_grad_()
    for _ in range(times):
        started = time.process_time()
        factor = polar_factor(weight)
        ours.append(time.process_time() - started)
        leaf.grad = None
        started = time.process_time()
        torch.linalg.svdvals(leaf).sum().backward()
        theirs.append(time.process_time() - started)
    assert leaf.grad is not None
    u, sigma, vt = torch.linalg.svd(weight.double(), full_matrices=False)
    raised = ((u.T @ factor.double()) * vt).sum(1)
    large = sigma >= 1e-3 * sigma[0]
    return Gradients(
        median(ours),
        median(theirs),
        float((factor - leaf.grad).norm() / leaf.grad.norm()),
        float(raised[large].sub(1).abs().max()),
        1 - float(large.double().mean()),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--width", type=int, default=2000)
    parser.add_argument("--strength", type=float, default=1e-3)
    arguments = parser.parse_args()
    steps, width = (100, 300) if arguments.quick else (arguments.steps, arguments.width)
    torch.set_num_threads(1)
    whole = time.process_time()
    data = load_data(CIFAR10).split("train").take(BATCH * min(steps, 200), 0)

    def run(added: Added | None, count: int) -> Course:
        return course(data, width, count, steps, arguments.strength, added)

    fast = FastNuclear()
    plain = run(None, steps)
    svd = run(decomposed, steps if arguments.all else WARM_UP + 3)
    exact = run(Nuclear().start(), steps)
    lazy = run(fast.start(), steps)

    print(f"layer {width} x {data.x[0].numel()}, batch {BATCH}, AdamW {RATE:g}, strength {arguments.strength:g}")
    print(f"{steps} steps, the decomposition {len(svd.seconds)}; CPU seconds, one thread, torch {torch.__version__}\n")
    print(f"| Step | CPU s | x plain | {'decomposition / this':>20} | nuclear norm after | last losses |")
    print("|---|---|---|---|---|---|")
    rows = [
        ("plain", plain),
        ("decomposition", svd),
        ("polar factor", exact),
        (f"kept up to {fast.refresh} steps", lazy),
    ]
    for name, done in rows:
        end = f"{done.nuclear():.1f} | {done.loss:.3f}" if len(done.seconds) == steps else " | "
        ratio = f"{svd.mean / done.mean:.1f}"
        print(f"| {name} | {done.mean:.4f} | {done.mean / plain.mean:.2f} | {ratio} | {end} |")
    apart = lazy.nuclear() / exact.nuclear() - 1
    print(f"\nkept against fresh: nuclear norm {100 * apart:+.2f} %")
    start = run(None, WARM_UP).weight
    for when, weight in (("the start", start), ("the end", exact.weight)):
        found = gradients(weight, 1 if arguments.quick else 3)
        print(
            f"gradient at {when}: {found.ours:.3f} s, decomposition {found.theirs:.3f} s, "
            f"{found.theirs / found.ours:.1f} times as much; apart {found.apart:.1e}; at most {found.above:.1e} "
            f"where singular values are above 1e-3 of the largest, "
            f"{100 * found.below:.0f} % are below"
        )
    print(f"{(time.process_time() - whole) / 60:.1f} CPU minutes")


if __name__ == "__main__":
    main()
