"""Made Audit records for tests that need no torch: a base and three compressed nets. The numbers are not measurements
of any network, but they hang together: structure comes from real random matrices, accuracies from the outcome strings.

Legend: h rows, d columns of a structure matrix, n samples.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from brittle.results.audit import (
    SCHEMA,
    Audit,
    Check,
    Comparison,
    DataInfo,
    LayerChange,
    ModelInfo,
    Paired,
    Settings,
    Verdict,
)
from brittle.results.bounds import Gap, Ladder, Rung
from brittle.results.layer import LayerStructure, Neuron, NormBound, PerNorm, Spectral, Theorem31, Unmeasured
from brittle.results.robustness import AttackStep, Example, Outcomes, Robustness, threat_key
from tests import made_sensitivity as made
from tests.made_sensitivity import png, wilson

N = 500
RADII = {"linf": (0.01, 0.02, 0.05, 0.1), "l2": (0.1, 0.25, 0.5, 1.0)}
LAYERS = (("conv1", 16, 9), ("conv2", 32, 144), ("fc1", 96, 512), ("head", 10, 96))
CLASSES = tuple(str(digit) for digit in range(10))
MAX_DROP = 2.0
# name: (share of clean samples lost, factor on the attack strength, singular values kept, rows kept)
NETS = {
    "original": (0.0, 1.0, 1.0, 1.0),
    "low-rank": (0.012, 1.45, 0.15, 1.0),
    "neuron-pruned": (0.008, 1.05, 1.0, 0.4),
    "narrow": (0.0, 0.9, 1.0, 1.0),
}


def made_audits() -> tuple[Audit, ...]:
    """The base "original", then "low-rank" (brittle), "neuron-pruned" (undecided) and "narrow" (not brittle)."""
    return tuple(made_audit(name) for name in NETS)


def made_children() -> tuple[Audit, ...]:
    """The three compressed nets alone."""
    return made_audits()[1:]


@cache
def made_audit(name: str) -> Audit:
    """One of `NETS`, always the same."""
    matrices, base_matrices = _matrices(name), _matrices("original")
    outcomes = _outcomes(name)
    parameters = {"original": 55_000, "low-rank": 14_300, "neuron-pruned": 22_100, "narrow": 13_900}[name]
    comparison = verdict = None
    if name != "original":
        comparison = _comparison(name, outcomes, matrices, base_matrices)
        verdict = _verdict(comparison.paired)
    strength = NETS[name][1]
    robustness = tuple(_robustness(outcomes, norm, e) for norm in RADII for e in RADII[norm])
    against = "" if name == "original" else " --against original.safetensors"
    return Audit(
        schema=SCHEMA,
        brittle="0.1.0",
        seed=0,
        model=ModelInfo(name, parameters, {"zoo": "cnn", "width": 16}),
        data=DataInfo("digits", "test", N, "9f2c1a5be7" * 6 + "04d1", CLASSES),
        preflight=(
            Check("pixels in [0, 1]", "ok", "nothing to do"),
            Check("gradients reach the input", "ok", "nothing to do"),
            Check("few samples", "warning", f"{N} samples give intervals of about ±4 points; pass --samples for more"),
        ),
        layers=tuple(_layer(row[0], W) for row, W in zip(LAYERS, matrices, strict=True)),
        unmeasured=(
            Unmeasured("pos_embed", (1, 65, 96), "a learned table that is added, not a linear map of the input"),
        ),
        bounds={norm: _ladder(norm, matrices) for norm in RADII},
        gaps=tuple(
            Gap(norm, e, 2.1 * e * NETS[name][1] * (4 if norm == "linf" else 1), e * 35 * NETS[name][1], N)
            for norm in RADII
            for e in RADII[norm]
        ),
        robustness=robustness,
        universal=made.universal(strength, robustness),
        directions=made.directions(strength),
        outcomes=outcomes,
        examples=tuple(_example(name, i) for i in range(4)),
        settings=Settings(
            command=f"brittle audit {name}.safetensors --data digits{against} --norm both --samples {N}",
            effort="standard",
            batch_size=256,
            dtype="float32",
            device="cpu",
            torch="2.13.0",
            seconds=74.2,
        ),
        comparison=comparison,
        verdict=verdict,
        explained=made.explained(strength, robustness),
        amplification=made.amplification(strength, tuple(row[0] for row in LAYERS), N),
        landscapes=made.landscapes(strength, len(name)),
        probes=made.probes(strength, N),
        radii=tuple(made.radii(norm, _margins(name) / (strength * _reach(norm))) for norm in RADII),
        weight_free=made.queries(name, N),
        masking=made.masking(name == "neuron-pruned"),
    )


def _matrices(name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    _, _, rank, rows = NETS[name]
    made = []
    for _, h, d in LAYERS:
        W = rng.normal(size=(h, d)) / math.sqrt(d) * rng.gamma(4.0, 0.25, size=(h, 1))
        if rank < 1:
            U, s, Vt = np.linalg.svd(W, full_matrices=False)
            kept = max(1, math.ceil(rank * len(s)))
            W = (U[:, :kept] * (1.35 * s[:kept])) @ Vt[:kept]
        if rows < 1 and h > 10:
            W[np.argsort(np.abs(W).sum(1))[: round((1 - rows) * h)]] = 0
        if name == "narrow" and h > 10:
            W = 0.94 * W[: h // 2]
        made.append(W)
    return made


def _residual(t: np.ndarray, k: int) -> float:
    return float(t[k:].sum() / t.sum())


def _keep(t: np.ndarray) -> int:
    return next(k for k in range(1, len(t) + 1) if _residual(t, k) <= 0.05)


def _layer(name: str, W: np.ndarray) -> LayerStructure:
    h, d = W.shape
    nu = np.sort(np.abs(W).sum(1))[::-1]
    sigma = np.linalg.svd(W, compute_uv=False)
    k, ks, fro = math.ceil(0.1 * h), math.ceil(0.1 * len(sigma)), float(np.linalg.norm(W))
    share = sigma / sigma.sum()
    entropy = -(share[share > 1e-12] * np.log(share[share > 1e-12])).sum()

    def pq(t: np.ndarray) -> float:
        return float(1 - t.sum() / np.linalg.norm(t) / math.sqrt(len(t)))

    linf, l2, conv = float(nu[0]), float(sigma[0]), name.startswith("conv")
    return LayerStructure(
        name=name,
        kind="Conv2d" if conv else "Linear",
        shape=(h, d // 9, 3, 3) if conv else (h, d),
        parameters=h * d,
        frobenius=fro,
        neuron=Neuron(1, k, _residual(nu, k), 1 - nu[k - 1] / nu[0], 1 - nu[:k].mean() / nu[0], pq(nu), _keep(nu) / h),
        spectral=Spectral(
            1, ks, _residual(sigma, ks), 1 - sigma[ks - 1] / sigma[0], 1 - sigma[:ks].mean() / sigma[0], pq(sigma),
            float(math.exp(entropy)), fro**2 / l2**2, _keep(sigma),
        ),
        norms={
            "linf": NormBound(linf, "exact", linf),
            "l2": NormBound(l2 * 1.02, "upper_bound", l2) if conv else NormBound(l2, "exact", l2),
        },
        structure=PerNorm(linf / fro, l2 / fro),
        scale=fro,
        theorem31={"linf": Theorem31(3.1 * linf, 0.4 * linf, k, d // 2), "l2": Theorem31(2.4 * l2, 0.6 * l2, ks, None)},
        on_input=True,
        row_norms=tuple(float(v) for v in nu),
        singular_values=tuple(float(v) for v in sigma),
    )  # fmt: skip


def _ladder(norm: str, matrices: list[np.ndarray]) -> Ladder:
    product = math.prod(
        float(np.abs(W).sum(1).max() if norm == "linf" else np.linalg.svd(W, compute_uv=False)[0]) for W in matrices
    )
    product *= 1000 if norm == "linf" else 1
    rungs = (
        Rung("lower bound", product * 0.08, "lower_bound", 0.8, "gradient ascent on real inputs"),
        Rung("product of norms", product, "upper_bound", 0.01, "activations are 1-Lipschitz"),
        Rung("alignment", product * 0.7, "estimate", 0.4, "Theorem 3.2 with a greedy maximum"),
        Rung("loop transformation", product * 0.31, "upper_bound", 0.05, "slopes in [0, 1]"),
        Rung("semidefinite", None, "upper_bound", 0.0, "convolutions are larger than 4,096 units"),
    )
    return Ladder(rungs, product * 0.31)


@cache
def _margins(name: str) -> np.ndarray:
    """Every sample has a fixed margin, and a net's losses eat into it."""
    lost = NETS[name][0]
    rng = np.random.default_rng(11)
    margin = rng.gamma(3.0, 0.5, size=N)
    margin[rng.random(N) < 0.03] = -1.0
    own = np.random.default_rng(len(name)).normal(size=N) * (0.0 if name == "original" else 0.05)
    return margin + own - (np.random.default_rng(3).random(N) < lost) * 9


def _reach(norm: str) -> float:
    """The margin that the base loses to an attack for each unit of radius."""
    return 9.0 if norm == "linf" else 0.85


@cache
def _outcomes(name: str) -> Outcomes:
    """The attack eats into the margins, so outcomes are nested in epsilon."""
    strength, margin = NETS[name][1], _margins(name)
    right = {"clean": margin > 0}
    for norm, radii in RADII.items():
        for e in radii:
            reach = strength * e * _reach(norm)
            right[threat_key(norm, e)] = margin > reach
            right[f"noise:{threat_key(norm, e)}"] = margin > 0.06 * reach
            right[f"certified:{threat_key(norm, e)}"] = margin > 2.3 * reach
    labels = tuple(int(v) for v in np.random.default_rng(12).integers(0, 10, size=N))
    return Outcomes({key: "".join("01"[int(v)] for v in values) for key, values in right.items()}, labels)


def _share(outcomes: Outcomes, key: str) -> float:
    return outcomes.right[key].count("1") / N


def _robustness(outcomes: Outcomes, norm: str, e: float) -> Robustness:
    key = threat_key(norm, e)
    attacked = _share(outcomes, key)
    steps = (
        AttackStep("PGD", min(1.0, attacked + 0.004)),
        AttackStep("APGD-CE", attacked),
        AttackStep("APGD-DLR", attacked),
    )
    certified, noise = _share(outcomes, f"certified:{key}"), _share(outcomes, f"noise:{key}")
    return Robustness(
        norm, e, N, _share(outcomes, "clean"), certified, attacked, "APGD cascade", wilson(attacked, N), noise, "CROWN",
        steps,
    )  # fmt: skip


def _paired(outcomes: Outcomes, norm: str, e: float) -> Paired:
    base, key = _outcomes("original"), threat_key(norm, e)

    def drop(k: str) -> tuple[np.ndarray, float, tuple[float, float]]:
        change = np.array([int(a) - int(b) for a, b in zip(base.right[k], outcomes.right[k], strict=True)])
        half = 196 * float(change.std()) / math.sqrt(N)
        mean = 100 * float(change.mean())
        return change, mean, (mean - half, mean + half)

    change, mean, interval = drop(key)
    _, clean, clean_interval = drop("clean")
    labels = np.array(outcomes.labels)
    ratio = _share(base, key) / _share(base, "clean") - _share(outcomes, key) / _share(outcomes, "clean")
    return Paired(
        norm, e, N, _share(base, key), _share(outcomes, key), mean, interval, clean, clean_interval,
        drop(f"noise:{key}")[1], ratio, int((change > 0).sum()), int((change < 0).sum()),
        max(N, math.ceil((196 * float(change.std())) ** 2)),
        {label: 100 * float(change[labels == i].mean()) for i, label in enumerate(CLASSES)},
        9876,
    )  # fmt: skip


def _comparison(name: str, outcomes: Outcomes, matrices: list[np.ndarray], base: list[np.ndarray]) -> Comparison:
    def change(name: str, old: LayerStructure, new: LayerStructure) -> LayerChange:
        scale = math.log(new.scale / old.scale)
        linf, l2 = new.structure.linf / old.structure.linf, new.structure.l2 / old.structure.l2
        return LayerChange(name, scale, math.log(linf), math.log(l2))

    changes = tuple(
        change(row[0], _layer(row[0], old), _layer(row[0], new))
        for row, old, new in zip(LAYERS, base, matrices, strict=True)
    )
    return Comparison(
        base=ModelInfo("original", 55_000, {"zoo": "cnn", "width": 16}),
        paired=tuple(_paired(outcomes, norm, e) for norm in RADII for e in RADII[norm]),
        attribution=changes,
        unmatched=(),
        caution="The sums explain a bound on sensitivity, not measured accuracy: a norm may grow and do no harm.",
        transfer=made.transfer("original", name, N),
        weight_free=made.surrogate("original", N),
    )


def _verdict(paired: tuple[Paired, ...]) -> Verdict:
    words = []
    for p in paired:
        low, high = p.interval95
        words.append("brittle" if low > MAX_DROP else "not brittle" if high < MAX_DROP else "undecided")
    why = tuple(
        f"{p.norm} {p.epsilon:g}: {w}, drop {p.drop_points:.1f} points" for p, w in zip(paired, words, strict=True)
    )
    overall = True if "brittle" in words else False if set(words) == {"not brittle"} else None
    return Verdict(overall, why, MAX_DROP)


def _example(name: str, i: int) -> Example:
    rng = np.random.default_rng(100 * len(name) + i)
    y, x = np.mgrid[0:8, 0:8]
    clean = np.exp(-((np.hypot(x - 3.5, y - 3.5) - 2.0 - 0.4 * i) ** 2))
    delta = 0.1 * np.sign(rng.normal(size=(8, 8)))
    norm, e = ("linf", 0.1) if i % 2 == 0 else ("l2", 0.5)
    return Example(
        norm, e, 17 * i + 3, str(i), str(i), str((i + 5) % 10),
        png(clean), png(clean + delta), png(0.5 + delta * 4),
    )  # fmt: skip
