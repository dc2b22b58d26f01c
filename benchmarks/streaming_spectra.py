"""Do the intervals of estimated spectra hold? Many draws on known singular values: the second part of streaming.md.

python -m benchmarks.streaming_spectra
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor

from brittle.checkpoints.estimates import estimate
from brittle.checkpoints.lanczos import lanczos
from brittle.compressibility.rank import effective_rank, stable_rank
from brittle.compressibility.residual import count, residual
from brittle.compressibility.sparsity import pq_index

FIELDS = ("effective_rank", "epsilon", "pq_index", "stable_rank", "sigma_max")
PROBES, STEPS = 10, 40


def spectra(n: int) -> dict[str, Tensor]:
    i = torch.arange(1, n + 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    r = n // 20
    low_rank = 3 * normal(n, r) @ normal(r, n) / math.sqrt(r * n) + 0.1 * normal(n, n) / math.sqrt(n)
    return {
        "flat": torch.ones_like(i),
        "random, square": torch.linalg.svdvals(normal(n, n)),
        "random, 1 to 3": torch.linalg.svdvals(normal(n, 3 * n)),
        **{f"`i ** -{power:g}`": i**-power for power in (0.25, 0.5, 1.0, 2.0)},
        "5 % equal, others 0.03": torch.where(i <= r, 1.0, 0.03).double(),
        "random rank 5 % and noise": torch.linalg.svdvals(low_rank),
        "rank 5 %": torch.where(i <= r, 1.0, 0.0).double(),
        "rank 2": torch.where(i <= 2, 1.0, 0.0).double(),
        "10 % equal, others half": torch.where(i <= count(0.1, n), 1.0, 0.5).double(),
        "half of them zero": torch.where(i <= n // 2, 1.0, 0.0).double(),
        "exponential to 1e-13": torch.exp(-30 * i / n),
        "exponential to 0.05": torch.exp(-3 * i / n),
        "line to zero": 1 - (i - 1) / n,
        "one of 30, others 1": torch.where(i <= 1, 30.0, 1.0).double(),
    }


def row(sigma: Tensor, draws: int) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Truths, shares of draws whose interval holds them, mean half widths."""
    n, k = len(sigma), count(0.1, len(sigma))
    lam = sigma.square()
    truth = {
        "effective_rank": effective_rank(sigma),
        "epsilon": residual(sigma, k),
        "pq_index": pq_index(sigma),
        "stable_rank": stable_rank(sigma),
        "sigma_max": float(sigma.max()),
    }
    held, wide = dict.fromkeys(FIELDS, 0.0), dict.fromkeys(FIELDS, 0.0)
    for seed in range(draws):
        generator = torch.Generator().manual_seed(seed)
        found = lanczos(lambda x: lam[:, None] * x, n, probes=PROBES, steps=STEPS, generator=generator)
        estimates = estimate(found, n, k, float(sigma.norm()), roundings=10)
        for field in FIELDS:
            low, high = getattr(estimates, field).interval95
            slack = 1e-9 * abs(truth[field]) + 1e-12
            held[field] += (low - slack <= truth[field] <= high + slack) / draws
            wide[field] += (high - low) / 2 / draws
    return truth, held, wide


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=300)
    parser.add_argument("--draws", type=int, default=40)
    given = parser.parse_args()
    print("| Spectrum | Effective rank | held | Residual at 10 % | held | PQ index held | σ₁, stable rank held |")
    print("|---|---|---|---|---|---|---|")
    for name, sigma in spectra(given.values).items():
        truth, held, wide = row(sigma.sort(descending=True).values, given.draws)
        cells = [f"{truth[f]:.4g} ± {wide[f]:.2g} | {100 * held[f]:.1f} %" for f in ("effective_rank", "epsilon")]
        least = min(held["sigma_max"], held["stable_rank"])
        print(f"| {name} | {' | '.join(cells)} | {100 * held['pq_index']:.1f} % | {100 * least:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
