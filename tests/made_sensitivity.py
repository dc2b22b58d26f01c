"""Made records on directions and perturbations for `made_audits`: no measurements, but numbers that hang together.

Legend: `strength` is the factor by which a net's attacks are stronger than the base's, n samples, m directions.
"""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from PIL import Image

from brittle.results.audit import Check
from brittle.results.directions import (
    Amplification,
    Confined,
    Direction,
    DirectionSet,
    Explained,
    Landscape,
    Probe,
)
from brittle.results.perturbations import RadiusCurve, Transfer, Universal, WeightFree
from brittle.results.robustness import Robustness

K = 6
STEPS = (1, 2, 4, 6)
CASES = (("margin", "linf", 0.1, True), ("margin", "l2", 0.5, True), ("representation", "l2", 0.5, True),
         ("margin", "l2", 0.5, False))  # fmt: skip


def png(pixels: np.ndarray) -> str:
    """Pixels in [0, 1] as the data URI of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray((255 * pixels.clip(0, 1)).astype("uint8")).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson interval at 95 %."""
    z2 = 1.959964**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def wave(i: int, seed: int) -> np.ndarray:
    """A picture (8, 8) around one half: a plane wave, finer for larger i."""
    y, x = np.mgrid[0:8, 0:8] / 7
    angle = 0.7 * i + 0.3 * seed
    return 0.5 + 0.5 * np.cos(math.pi * (1 + i / 2) * (math.cos(angle) * x + math.sin(angle) * y) + seed)


def directions(strength: float) -> dict[str, DirectionSet]:
    """Shares fall geometrically, faster for a net that attacks hurt more."""
    found = {}
    for j, (name, status, error) in enumerate((("representation", "estimate", 0.021), ("margin", "exact", 0.0))):
        decay = 0.78 - 0.25 * (strength - 1) + 0.04 * j
        shares = [0.85 * (1 - decay) * decay**i for i in range(K)]
        trace = 40.0 * strength
        rows = tuple(
            Direction(s * trace, s, 10.0 ** (i / 2 - 5), 0.94 * s, png(wave(i, j + round(10 * strength))))
            for i, s in enumerate(shares)
        )
        found[name] = DirectionSet(name, rows, trace, status, error, 512, 500, 12_288)
    return found


def explained(strength: float, robustness: tuple[Robustness, ...]) -> tuple[Explained, ...]:
    rows = []
    for name, norm, epsilon, box in CASES:
        full = next(r for r in robustness if (r.norm, r.epsilon) == (norm, epsilon))
        lost, rate = full.clean - full.attacked, (0.35 if name == "margin" else 0.2) * strength * (1.0 if box else 1.3)

        def confined(m: int, rate: float = rate, lost: float = lost, full: Robustness = full) -> Confined:
            share, random = 1 - math.exp(-rate * m), 0.015 * m
            ends = (max(0.0, share - 0.05), min(1.0, share + 0.04))
            return Confined(
                m, full.clean - share * lost, share, ends, full.clean - random * lost, random,
                (max(0.0, random - 0.01), random + 0.012),
            )  # fmt: skip

        curve = tuple(confined(m) for m in STEPS)
        enough = next((c.m for c in curve if c.damage is not None and c.damage >= 0.9), None)
        overlap = tuple((0.5 if box else 0.62) * strength**0.5 * math.exp(-0.4 * strength * i) for i in range(K))
        rows.append(Explained(name, norm, epsilon, full.n, full.clean, full.attacked, box, overlap, 0.1, curve, enough))
    return tuple(rows)


def amplification(strength: float, layers: tuple[str, ...], n: int) -> tuple[Amplification, ...]:
    return tuple(
        Amplification(name, norm, e, n, a, (0.93 * a, 1.07 * a), b, (0.95 * b, 1.05 * b))
        for norm, e in (("linf", 0.1), ("l2", 0.5))
        for i, name in enumerate(layers)
        for a, b in [(e * (1.2 + strength * 0.8 * i), e * (1.1 - 0.15 * i))]
    )


def landscapes(strength: float, seed: int) -> tuple[Landscape, ...]:
    """Four classes in the corners of the plane; attacks move samples towards the middle and beyond."""
    rng = np.random.default_rng(seed)
    corners = np.array([[-2, -1.5], [-1.6, 1.8], [2.1, 1.4], [1.7, -1.9]])
    labels = rng.integers(0, 4, size=80)
    clean = corners[labels] + 0.5 * rng.normal(size=(80, 2))
    rows = []
    for norm, e in (("linf", 0.1), ("l2", 0.5)):
        attacked = clean - 0.55 * strength * (1 + (norm == "linf")) * corners[labels] * rng.random((80, 1))
        grid = np.stack(np.meshgrid(np.linspace(-4, 4, 40), np.linspace(-4, 4, 40)), -1)
        nearest = np.linalg.norm(grid[:, :, None] - corners, axis=-1).argmin(-1)
        rows.append(
            Landscape(
                norm, e, tuple(map(tuple, clean.tolist())), tuple(map(tuple, attacked.tolist())),
                tuple(map(int, labels)), tuple(tuple(map(int, row)) for row in nearest), (-4.0, 4.0, -4.0, 4.0),
                (0.46, 0.21),
            )
        )  # fmt: skip
    return tuple(rows)


def probes(strength: float, n: int) -> tuple[Probe, ...]:
    """Robust accuracy falls with the stable rank, clean accuracy hardly."""
    rows = []
    for change, amount, rank in (
        ("flattened", 1.0, 11.0), ("flattened", 0.5, 7.2), ("as it is", 0.0, 4.8), ("concentrated", 0.5, 2.9),
        ("concentrated", 1.0, 1.6),
    ):  # fmt: skip
        clean = 0.96 - 0.01 * amount
        robust = {"linf@0.1": 0.5 * (rank / 11) ** (0.4 * strength), "l2@0.5": 0.7 * (rank / 11) ** (0.3 * strength)}
        ends = {key: wilson(value, n) for key, value in robust.items()}
        rows.append(Probe(change, amount, rank, n, clean, wilson(clean, n), robust, ends))
    return tuple(rows)


def radii(norm: str, smallest: np.ndarray) -> RadiusCurve:
    """`smallest` holds each sample's smallest perturbation, at most 0 if misclassified; the largest are lost."""
    lost = np.quantile(smallest, 0.98)
    values = tuple(None if r > lost else max(0.0, float(r)) for r in smallest)
    right = sorted(math.inf if r is None else r for r in values if r != 0)
    quantiles: dict[str, float | None] = {}
    for q in (0.1, 0.25, 0.5, 0.75, 0.9):
        at = right[math.ceil(q * len(right)) - 1]
        quantiles[f"{q:g}"] = None if at == math.inf else at
    return RadiusCurve(norm, {"linf": "FAB", "l2": "DDN"}.get(norm, norm), len(values), values, quantiles)


def universal(strength: float, robustness: tuple[Robustness, ...]) -> tuple[Universal, ...]:
    rows = []
    for norm, epsilon, target in (("linf", 0.1, None), ("linf", 0.1, "3"), ("l2", 1.0, None)):
        clean = robustness[0].clean
        rate, control = min(0.9, 0.3 * strength**2), 0.03
        if target is not None:
            rate *= 0.6
        rows.append(
            Universal(
                norm, epsilon, rate, True, "averaged gradients" if target is None else "targeted gradients", 500,
                wilson(rate, 500), control, clean, clean * (1 - 0.9 * rate), 512, target,
                png(wave(2, round(10 * strength))),
            )
        )  # fmt: skip
    return tuple(rows)


def transfer(base: str, child: str, n: int) -> tuple[Transfer, ...]:
    rows = []
    for kind, norm, e in (("examples", "linf", 0.1), ("universal", "linf", 0.1), ("directions", "l2", 0.5)):
        for source, target, share in ((base, base, 1.0), (base, child, 0.71), (child, base, 0.42), (child, child, 1.0)):
            left = 0.95 - 0.5 * share
            rows.append(Transfer(kind, norm, e, source, target, n, 0.95, left, wilson(left, n), share))
    return tuple(rows)


def queries(name: str, n: int) -> tuple[WeightFree, ...]:
    return (WeightFree("queries", "universal", "linf", 0.1, name, n, 2_000, 0.71, 0.55, 0.6, (0.52, 0.69)),)


def surrogate(base: str, n: int) -> tuple[WeightFree, ...]:
    return (
        WeightFree("surrogate", "directions", "l2", 0.5, base, n, 0, 0.62, 0.48, 0.7, (0.61, 0.78)),
        WeightFree("surrogate", "universal", "linf", 0.1, base, n, 0, 0.95, 0.95, None, None),
    )


def masking(warned: bool) -> tuple[Check, ...]:
    return (
        Check("gradients are not zero", "ok", "0.0% of 500 samples have an input gradient of exactly zero"),
        Check(
            "many steps beat one",
            "warning" if warned else "ok",
            "accuracy 0.412 after 20 steps, 0.415 after one; trust attacks without gradients more"
            if warned
            else "accuracy 0.412 after 20 steps, 0.535 after one",
        ),
    )
