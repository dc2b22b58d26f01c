"""Brute-force soundness of every rung: random small networks against the exact maximum over all slope patterns.

    OMP_NUM_THREADS=1 python -m benchmarks.soundness [--cases N] [--cheap N] [--seed S]

`max over D in {low, high}^h of ||W_2 D W_1||` is enumerated; a bound below it is a violation. --cases networks for
LipSDP, its weighted form and the scaled loop, --cheap for product, LipLT and the componentwise loop, in batches. Then
the library's own rungs (with their rounding margins), on --cases graphs.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.bounds.alignment import upper_numerator
from brittle.bounds.dense_chain import DenseChain, DenseMap
from brittle.bounds.linear_forms import propagate
from brittle.bounds.lipsdp_l2 import lipsdp_l2
from brittle.bounds.lipsdp_linf import lipsdp_linf
from brittle.bounds.product import node_norms, product_constants
from brittle.operators.activations import Slopes
from brittle.operators.network import read_network

SLOPES = (
    Slopes(0.0, 1.0),
    Slopes(0.0, 1.0),
    Slopes(0.01, 1.0),
    Slopes(0.0, 0.25),
    Slopes(-0.129, 1.129),
    Slopes(-1.0, 1.0),
)
# The enumeration's own rounding.
_TOLERANCE = 1e-12


def number(value: float) -> Tensor:
    """(1,) in float64."""
    return torch.tensor([value], dtype=torch.float64)


@dataclass
class Tally:
    """Cases, violations, and the ratios bound / exact of one form."""

    cases: int = 0
    violations: int = 0
    worst: float = torch.inf
    total: float = 0.0

    def add(self, bound: Tensor, exact: Tensor) -> None:
        ratio = bound / exact.clamp_min(1e-300)
        ratio = torch.where(exact > 0, ratio, 1.0)
        self.cases += len(ratio)
        self.violations += int((ratio < 1 - _TOLERANCE).sum())
        self.worst = min(self.worst, float(ratio.min()))
        self.total += float(ratio.sum())


def exact_norms(outer: Tensor, inner: Tensor, slopes: Slopes) -> dict[str, Tensor]:
    """`max_D ||W_2 D W_1||` of a batch: outer (b, K, h), inner (b, h, d) -> (b,) for each norm."""
    h = inner.shape[1]
    linf, l2 = torch.zeros(len(outer)), torch.zeros(len(outer))
    linf, l2 = linf.double(), l2.double()
    # Only the short side's Gram is needed for the spectral norm.
    for code in range(2**h):
        bits = (code >> torch.arange(h)) & 1
        d = slopes.low + (slopes.high - slopes.low) * bits.double()
        product = (outer * d) @ inner
        linf = torch.maximum(linf, product.abs().sum(2).amax(1))
        frobenius = product.square().sum((1, 2)).sqrt()
        if bool((frobenius > l2).any()):  # the spectral norm is no larger: skip what cannot win
            rows = (frobenius > l2).nonzero()[:, 0]
            part = product[rows]
            gram = part @ part.mT if part.shape[1] <= part.shape[2] else part.mT @ part
            l2[rows] = torch.maximum(l2[rows], _top(gram).clamp_min(0).sqrt())
    return {"linf": linf, "l2": l2}


def _top(gram: Tensor) -> Tensor:
    """The largest eigenvalue of symmetric (b, n, n); in closed form for n <= 2."""
    if gram.shape[1] == 1:
        return gram[:, 0, 0]
    if gram.shape[1] == 2:
        half = (gram[:, 0, 0] + gram[:, 1, 1]) / 2
        return half + (((gram[:, 0, 0] - gram[:, 1, 1]) / 2).square() + gram[:, 0, 1].square()).sqrt()
    return torch.linalg.eigvalsh(gram)[:, -1]


def cheap_bounds(outer: Tensor, inner: Tensor, slopes: Slopes) -> dict[str, tuple[str, Tensor]]:
    """The cheap rungs of a batch, written out by hand: name -> (norm, values)."""
    c, r = abs(slopes.low + slopes.high) / 2, (slopes.high - slopes.low) / 2
    steepest = max(abs(slopes.low), abs(slopes.high))
    norm_a, norm_b = torch.linalg.matrix_norm(outer, 2), torch.linalg.matrix_norm(inner, 2)
    rows_b = inner.abs().sum(2, keepdim=True)
    product = outer @ inner
    componentwise = (c * product.abs().sum(2) + r * (outer.abs() @ rows_b)[:, :, 0]).amax(1)
    return {
        "product l2": ("l2", steepest * norm_a * norm_b),
        "LipLT": ("l2", c * torch.linalg.matrix_norm(product, 2) + r * norm_a * norm_b),
        "product linf": ("linf", steepest * outer.abs().sum(2).amax(1) * rows_b.amax((1, 2))),
        "componentwise": ("linf", componentwise),
    }


def random_nets(
    cases: int, hidden: int, generator: torch.Generator, outputs: int, inputs: int
) -> tuple[Tensor, Tensor]:
    """Outer (cases, K, h) and inner (cases, h, d): normal, a third sparse, a third with rows of very different size."""
    outer = torch.randn(cases, outputs, hidden, dtype=torch.float64, generator=generator)
    inner = torch.randn(cases, hidden, inputs, dtype=torch.float64, generator=generator)
    third = cases // 3
    outer[:third] *= (torch.rand(outer[:third].shape, generator=generator) < 0.5).double()
    inner[:third] *= (torch.rand(inner[:third].shape, generator=generator) < 0.5).double()
    sizes = 10.0 ** (3 * torch.rand(third, hidden, 1, dtype=torch.float64, generator=generator) - 2)
    inner[third : 2 * third] *= sizes
    return outer, inner


def check_cheap(cases: int, seed: int) -> dict[str, Tally]:
    """`cases` networks with up to 8 hidden units through the cheap rungs, in batches of equal shapes."""
    generator = torch.Generator().manual_seed(seed)
    tallies: dict[str, Tally] = {}
    done, block = 0, 4096
    while done < cases:
        count = min(block, cases - done)
        hidden, outputs, inputs = (int(torch.randint(1, top, (), generator=generator)) for top in (9, 3, 6))
        slopes = SLOPES[int(torch.randint(0, len(SLOPES), (), generator=generator))]
        outer, inner = random_nets(count, hidden, generator, outputs, inputs)
        exact = exact_norms(outer, inner, slopes)
        for name, (norm, values) in cheap_bounds(outer, inner, slopes).items():
            tallies.setdefault(name, Tally()).add(values, exact[norm])
        done += count
    return tallies


def check_solvers(cases: int, seed: int, steps: int = 20) -> dict[str, Tally]:
    """`cases` networks with up to 10 hidden units through LipSDP, its weighted form, its pairs and the scaled loop."""
    generator = torch.Generator().manual_seed(seed)
    tallies = {name: Tally() for name in ("LipSDP l2", "LipSDP l2 logit", "weighted linf", "scaled loop")}
    for _ in range(cases):
        hidden, outputs, inputs = (int(torch.randint(1, top, (), generator=generator)) for top in (11, 4, 6))
        slopes = SLOPES[int(torch.randint(0, len(SLOPES), (), generator=generator))]
        nets = random_nets(3, hidden, generator, outputs, inputs)
        pick = int(torch.randint(0, 3, (), generator=generator))
        outer, inner = nets[0][pick], nets[1][pick]
        exact = exact_norms(outer[None], inner[None], slopes)
        chain = DenseChain((DenseMap(inner, None), DenseMap(outer, None)), (slopes,))
        solve = lipsdp_l2(chain, steps=steps)
        row = exact_norms(outer[None, :1], inner[None], slopes)
        weighted = lipsdp_linf(chain, torch.eye(outputs, dtype=torch.float64), steps=steps)
        tallies["LipSDP l2"].add(number(solve.value), exact["l2"])
        tallies["LipSDP l2 logit"].add(solve.logits()[:1], row["l2"])
        tallies["weighted linf"].add(number(weighted.value), exact["linf"])
        tallies["scaled loop"].add(number(upper_numerator(outer, inner, "l2", slopes)), exact["l2"])
    return tallies


def check_library(cases: int, seed: int) -> dict[str, Tally]:
    """`cases` ReLU networks read by `read_network`, through the ladder's own product and loop rungs."""
    generator = torch.Generator().manual_seed(seed)
    tallies = {
        name: Tally() for name in ("ladder product l2", "ladder product linf", "ladder loop l2", "ladder loop linf")
    }
    for _ in range(cases):
        hidden, outputs, inputs = (int(torch.randint(1, top, (), generator=generator)) for top in (9, 4, 6))
        outer, inner = (t[2] for t in random_nets(3, hidden, generator, outputs, inputs))
        model = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs)).double()
        model[0].weight.data, model[2].weight.data = inner, outer
        graph = read_network(model, (inputs,)).graph
        assert graph is not None
        exact = exact_norms(outer[None], inner[None], Slopes(0.0, 1.0))
        loops = propagate(graph)
        for norm, loop in (("l2", loops.l2), ("linf", float(loops.linf.max()))):
            product = product_constants(graph, norm, node_norms(graph, norm, {}))[-1]
            tallies[f"ladder product {norm}"].add(number(product), exact[norm])
            tallies[f"ladder loop {norm}"].add(number(loop), exact[norm])
    return tallies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="networks through the solvers")
    parser.add_argument("--cheap", type=int, default=100_000, help="networks through the cheap rungs")
    parser.add_argument(
        "--library", type=int, default=50, help="networks through the ladder's rungs, traced one by one"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tallies = {
        **check_cheap(options.cheap, options.seed),
        **check_library(options.library, options.seed),
        **check_solvers(options.cases, options.seed),
    }
    print(f"{'form':22}{'cases':>9}{'violations':>12}{'smallest ratio':>18}{'mean ratio':>12}")
    for name, t in tallies.items():
        print(f"{name:22}{t.cases:9}{t.violations:12}{t.worst:18.12f}{t.total / max(t.cases, 1):12.4f}")
    raise SystemExit(1 if any(t.violations for t in tallies.values()) else 0)


if __name__ == "__main__":
    main()
