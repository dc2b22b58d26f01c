"""How tight and how fast every global rung is, on the digits MLP 64-100-100-10 and a 64-64-64-64-64-10 one.

    OMP_NUM_THREADS=1 python -m benchmarks.bounds [--seed S] [--searches N]

"lower" is the largest Jacobian norm that a search finds. Seconds are CPU seconds. theory.md quotes another training
run, so compare ratios to "lower" and to "product", not values. Certified accuracy uses the pairs' constants, on the
test split.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from brittle.attacks.pgd import PGD
from brittle.bounds.certificate import certified_radii
from brittle.bounds.dense_chain import DenseChain, dense_chain
from brittle.bounds.jacobian_search import search_jacobian_norm
from brittle.bounds.linear_forms import propagate
from brittle.bounds.lipsdp_l2 import lipsdp_l2
from brittle.bounds.lipsdp_linf import lipsdp_linf, lipsdp_linf_pairs
from brittle.bounds.pairs import loop_pairs
from brittle.bounds.product import node_norms, product_constants
from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.demo.nets import TRAINING
from brittle.models.recipe import Recipe, build
from brittle.operators.network import read_network
from brittle.threats import LinfBall
from brittle.training.loop import fit

T = TypeVar("T")
# Ratios in theory.md section 4: (width, depth) -> norm -> rung -> (bound / lower, bound / product).
THEORY = {
    (
        100,
        2,
    ): "theory.md: l2 LipSDP/lower 1.0016, LipLT/lower 1.045; linf weighted/lower 1.042, weighted/product 0.0972, "
    "loop/product 0.273",
    (64, 4): "theory.md: linf weighted/loop 0.162, weighted/best of any method 1.045",
}


def timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def row(name: str, value: float, seconds: float, lower: float, product: float) -> None:
    print(f"  {name:26}{value:12.4f}{value / lower:12.5f}{value / product:12.5f}{seconds:9.2f}", flush=True)


def certified(logits: Tensor, y: Tensor, pairs: Tensor, epsilon: float) -> float:
    return float((certified_radii(logits, y, pairs, 1e-5) > epsilon).double().mean())


def measure(model: nn.Module, train: Split, test: Split, seed: int, searches: int) -> None:
    graph = read_network(model, tuple(test.x.shape[1:])).graph
    assert graph is not None
    chain = dense_chain(graph)
    assert isinstance(chain, DenseChain)
    classes = graph.nodes[-1].shape[0]
    forms, loop_seconds = timed(lambda: propagate(graph))
    tables = {"linf": {"loop": loop_pairs(forms, "linf")}, "l2": {"loop": loop_pairs(forms, "l2")}}
    for norm in ("l2", "linf"):
        found = [
            timed(lambda n=norm, s=s: search_jacobian_norm(model, train.x, n, seed=s))
            for s in range(seed, seed + searches)
        ]
        lower = max(point.value for point, _ in found)
        product, seconds = timed(lambda n=norm: product_constants(graph, n, node_norms(graph, n, {}))[-1])
        print(f" {norm}{'value':>37}{'/ lower':>12}{'/ product':>12}{'CPU s':>9}")
        row(f"lower ({searches} searches)", lower, sum(s for _, s in found), lower, product)
        row("product", product, seconds, lower, product)
        if norm == "l2":
            row("LipLT", forms.l2, loop_seconds, lower, product)
            for steps in (1, 30, 100):
                solve, seconds = timed(lambda k=steps: lipsdp_l2(chain, steps=k))
                row(f"LipSDP, {steps} steps", solve.value, seconds, lower, product)
            tables[norm]["LipSDP"], seconds = timed(solve.pairs)
        else:
            row("componentwise loop", float(forms.linf.max()), loop_seconds, lower, product)
            eye = torch.eye(classes, dtype=torch.float64)
            for steps in (1, 30, 150):
                weighted, seconds = timed(lambda k=steps, e=eye: lipsdp_linf(chain, e, steps=k))
                row(f"weighted LipSDP, {steps} steps", weighted.value, seconds, lower, product)
            tables[norm]["weighted"], seconds = timed(lambda: lipsdp_linf_pairs(chain))
        print(f"  all {classes * (classes - 1) // 2} pairs of classes in {seconds:.2f} s")
    with torch.no_grad():
        logits = model(test.x)
    for norm, radii in (("linf", (0.01, 0.02, 0.03)), ("l2", (0.05, 0.1, 0.2))):
        for name, pairs in tables[norm].items():
            shares = ", ".join(f"{certified(logits, test.y, pairs, e):.4f}" for e in radii)
            print(f"  certified {norm} at {radii} by {name}: {shares}")
    x_adv = PGD()(model, test.x, test.y, LinfBall(0.03), indices=torch.arange(len(test)), seed=seed)
    with torch.no_grad():
        print(f"  accuracy under PGD, linf 0.03: {float((model(x_adv).argmax(1) == test.y).double().mean()):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--searches", type=int, default=3, help="Jacobian searches for the lower rung")
    options = parser.parse_args()
    data = load_data("digits")
    train, test = data.split("train"), data.split("test")
    for width, depth in THEORY:
        recipe = Recipe("mlp", data.input_shape, len(data.classes), {"width": width, "depth": depth})
        model = fit(build(recipe, seed=options.seed), train, data.split("validation"), TRAINING, seed=options.seed)
        print(f"\ndigits MLP, {depth} hidden layers of {width}, seed {options.seed}")
        measure(model, train, test, options.seed, options.searches)
        print(f"  {THEORY[width, depth]}")


if __name__ == "__main__":
    main()
