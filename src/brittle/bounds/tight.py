"""The last rungs: LipSDP for l_2 and its weighted form for l_inf, as far as their cost allows.

Legend: K classes. Work is planned in multiply-adds from the network alone, so results never depend on the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from brittle.bounds.dense_chain import DenseChain, NotDense, dense_chain
from brittle.bounds.lipsdp_l2 import lipsdp_l2
from brittle.bounds.lipsdp_linf import lipsdp_linf, lipsdp_linf_pairs
from brittle.operators.graph import Graph

# Multiply-adds that one rung may take: about half a minute on one core.
_MAX_WORK = 3e11
# Pairs of classes that the l_inf form solves one by one.
_MAX_PAIRS = 200


@dataclass(frozen=True)
class Tightness:
    """Steps of Adam for the LipSDP rungs; `linf_pairs` steps for a solve of every class pair, 0 for none."""

    l2: int
    linf: int
    linf_pairs: int


# By the audit's effort
TIGHTNESS: dict[str, Tightness] = {
    "quick": Tightness(l2=20, linf=5, linf_pairs=0),
    "standard": Tightness(l2=60, linf=30, linf_pairs=0),
    "thorough": Tightness(l2=150, linf=150, linf_pairs=80),
}


@dataclass(frozen=True)
class TightRung:
    """A rung's value and class pairs (K, K); None with the reason in `why` where it was not computed."""

    value: float | None
    pairs: Tensor | None
    seconds: float
    why: str


def tight_rungs(graph: Graph, norms: tuple[str, ...], tightness: Tightness) -> dict[str, TightRung]:
    """The rung of each norm for a graph without opaque nodes."""
    chain = dense_chain(graph)
    if isinstance(chain, NotDense):
        return {norm: TightRung(None, None, 0.0, chain.why) for norm in norms}
    solve = {"l2": _l2, "linf": _linf}
    return {norm: solve[norm](chain, tightness) for norm in norms}


def _l2(chain: DenseChain, tightness: Tightness) -> TightRung:
    over = _over(chain, tightness.l2)
    if over:
        return TightRung(None, None, 0.0, over)
    start = perf_counter()
    found = lipsdp_l2(chain, steps=tightness.l2)
    pairs = found.pairs()
    return TightRung(found.value, pairs, perf_counter() - start, "")


def _linf(chain: DenseChain, tightness: Tightness) -> TightRung:
    classes = len(chain.maps[-1].matrix)
    over = _over(chain, tightness.linf * classes)
    if over:
        return TightRung(None, None, 0.0, over)
    start = perf_counter()
    rows = lipsdp_linf(chain, torch.eye(classes, dtype=torch.float64), steps=tightness.linf).values
    # |d(z_j - z_k)| <= |dz_j| + |dz_k|: sound for every pair, and sharp enough until pairs are solved themselves.
    pairs = (rows[:, None] + rows[None, :]) * (1 - torch.eye(classes, dtype=torch.float64)) * (1 + 2.0**-50)
    count = classes * (classes - 1) // 2
    if tightness.linf_pairs and count <= _MAX_PAIRS and not _over(chain, tightness.linf_pairs * count):
        pairs = torch.minimum(pairs, lipsdp_linf_pairs(chain, steps=tightness.linf_pairs))
    return TightRung(float(rows.max()), pairs, perf_counter() - start, "")


def _over(chain: DenseChain, solves: int) -> str:
    """Why it would take too long; empty where it would not."""
    each = 0.0
    for index, dense in enumerate(chain.maps[:-1]):
        h, d = dense.matrix.shape
        each += 4.0 * h**3 + 2.0 * h * h * d + (0.0 if index == 0 else 1.0 * d * d * h)
    work = each * solves
    return f"it would take {work:.0e} multiply-adds, over the limit of {_MAX_WORK:.0e}" if work > _MAX_WORK else ""
