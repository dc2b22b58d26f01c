"""A made compression record with every field filled, whose numbers are all different."""

from __future__ import annotations

from dataclasses import replace

from brittle.results.audit import DataInfo, ModelInfo, Settings, Verdict
from brittle.results.compression import (
    COMPRESSION_SCHEMA,
    Asked,
    CompressionResult,
    Drop,
    FittedOn,
    FrontPoint,
    Gate,
    LayerChange,
    Prediction,
    RecoveryRecord,
    Robust,
    Scored,
    Size,
)

N = 1000


def scored(clean: float, *attacked: float) -> Scored:
    radii = (0.05, 8 / 255)
    rows = tuple(
        Robust("linf", radius, "pgd-10 + apgd-20", a, (a - 0.021, a + 0.019))
        for radius, a in zip(radii, attacked, strict=False)
    )
    return Scored("test", N, clean, (clean - 0.013, clean + 0.012), rows)


def point(method: str, keep: float, clean: float, *attacked: float, front: bool = False) -> FrontPoint:
    name = "parent" if method == "parent" else f"{method} {100 * keep:g}%"
    file = f"child-{keep:g}.safetensors" if method == "auto" else None
    return FrontPoint(name, method, keep, round(335_114 * keep), scored(clean, *attacked), front, file)


def made_compression() -> CompressionResult:
    front = (
        point("parent", 1.0, 0.881, 0.788, 0.731, front=True),
        point("auto", 0.5, 0.879, 0.785, 0.729, front=True),
        point("auto", 0.25, 0.876, 0.781, 0.721, front=True),
        point("auto", 0.125, 0.864, 0.772, 0.713, front=True),
        point("l2-global", 0.5, 0.871, 0.761, 0.702),
        point("l2-global", 0.25, 0.861, 0.752, 0.689),
        point("l2-global", 0.125, 0.849, 0.743, 0.681),
        point("svd", 0.5, 0.8795, 0.766, 0.706, front=True),
        point("svd", 0.25, 0.872, 0.757, 0.697),
        point("<b>svd</b>", 0.125, 0.866, 0.741, 0.677, front=True),
    )
    return CompressionResult(
        schema=COMPRESSION_SCHEMA,
        brittle="0.1.0",
        seed=7,
        parent=ModelInfo("net.safetensors", 335_114, {"architecture": "cnn"}),
        child=ModelInfo("child.safetensors", 41_890, {"architecture": "cnn", "edits": []}),
        data=DataInfo("fashion-mnist", "test", N, "ab" * 32, ("shirt", "bag")),
        fitted=FittedOn("train", 54_000, 6_000, 1_234, "cd" * 32),
        asked=Asked(
            "auto", 0.125, True, "linf", (0.05, 8 / 255), 0.05, 12.5, "adversarial", {"beta_control": 0.003},
            0.35, 6.5, (0.5, 0.25, 0.125),
        ),
        parent_size=Size(335_114, 335_113, 32, 3_211_264, 1_341_808, 4.56, (4.41, 4.78), 64),
        child_size=Size(41_890, 41_767, 16, 1_105_920, 169_216, 1.23, (1.19, 1.31), 64),
        layers=(
            LayerChange("conv1", (32, 1, 4, 4), (29, 1, 4, 4), None, 1.0, 544, 493),
            LayerChange("conv2", (64, 32, 4, 4), (41, 29, 4, 4), 17, 0.97, 32_832, 8_657),
            LayerChange("<i>fc1</i>", (96, 3136), (96, 2009), 11, 0.91, 301_152, 23_251),
            LayerChange("head", (10, 96), (10, 96), None, 1.0, 970, 970),
            LayerChange("extra", (5, 5), (), None, 0.0, 25, 0),
        ),
        prediction=Prediction(777, 0.823, 0.811, 0.654, 0.669, 0.0123),
        recovery=RecoveryRecord(
            "adversarial", 12.5, 12.25, 3, 2, 0.0021, "linf", 0.05, {"beta_control": 0.003}, 93.4
        ),
        parent_scores=front[0].scores,
        before_recovery=scored(0.802, 0.642, 0.551),
        after=front[3].scores,
        drops=(
            Drop("clean", 0.0, 1.7, (0.61, 2.83)),
            Drop("linf", 0.05, 1.6, (0.47, 2.74)),
            Drop("linf", 8 / 255, 1.8, (0.52, 3.13)),
        ),
        verdict=Verdict(None, ("linf 0.05: drop +1.6 points, undecided", "linf 0.0313725: undecided as well"), 1.5),
        front=front,
        gate=Gate(1.5, True, ()),
        notes=("conv2 holds most of the work: `conv2` kept 41 of 64", "svd < auto & l2"),
        settings=Settings("brittle compress net.safetensors --keep 0.125 --out child.safetensors", "quick", 256,
                          "float32", "cpu", "2.13.0", 222.0),
    )  # fmt: skip


def bare_compression() -> CompressionResult:
    """The same after a run that the time limit cut short before anything was measured."""
    return replace(
        made_compression(),
        prediction=None,
        recovery=None,
        parent_scores=None,
        before_recovery=None,
        after=None,
        drops=(),
        verdict=None,
        front=(),
        gate=None,
        notes=(),
        parent_size=Size(335_114, 335_113, 32, None),
        child_size=Size(41_890, 20_000, 32, None),
        partial=True,
    )
