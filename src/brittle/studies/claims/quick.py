"""The quick preset: embedded digits and made clusters, MLPs with two hidden layers.

Radii are those at which dense networks keep 60 to 75 % of their accuracy. Ladders were fixed after a pilot with three
seeds: they end where compressibility stops rising or networks collapse. Criteria were written before the run.
"""

from __future__ import annotations

from typing import Final

from brittle.studies.claims.setting import Adversarial, Setting, Strengths, Transfer
from brittle.studies.trial import Threat, Training, Trial

SEEDS: Final = (0, 1, 2, 3, 4)


def quick_settings() -> tuple[Setting, ...]:
    """Digits, ten made classes, and two made tasks whose most accurate network is known."""
    return DIGITS, CLUSTERS, LINE, PLANES


def _linf(epsilon: float) -> Threat:
    return Threat(norm="linf", epsilon=epsilon)


def _l2(epsilon: float) -> Threat:
    return Threat(norm="l2", epsilon=epsilon)


_RUN: Final = Training(epochs=30, learning_rate=5e-3)
_MLP: Final = "zoo:mlp?width=64&depth=2"

DIGITS: Final = Setting(
    name="digits MLP",
    base=Trial(data="digits", test=500, model=_MLP, training=_RUN),
    seeds=SEEDS,
    linf=_linf(0.06),
    l2=_l2(0.35),
    wide=_linf(0.12),
    held=Strengths(
        group_lasso=(0.003, 0.01, 0.03, 0.06, 0.1),
        nuclear=(0.003, 0.01, 0.03, 0.06, 0.1),
        ranks=(32, 16, 8, 5, 3),
        widths=(0.5, 0.25, 0.125),
        keeps=(0.6, 0.4, 0.3, 0.2),
        rates=(0.001, 0.02),
        decays=(0.1, 1.0),
    ),
    free=Strengths(
        group_lasso=(0.0005, 0.002, 0.005, 0.01, 0.02),
        nuclear=(0.0005, 0.002, 0.005, 0.01, 0.02),
        ranks=(32, 16, 8, 5, 3),
        widths=(0.5, 0.25, 0.125),
        keeps=(0.6, 0.4, 0.3, 0.2),
        rates=(0.001, 0.02),
        decays=(0.1, 1.0),
        planted=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        scales=(1.0, 1.25, 1.5, 2.0, 3.0),
    ),
    adversarial=Adversarial(
        Training(epochs=15, learning_rate=5e-3, adversarial="pgd", epsilon=0.06, norm="linf"),
        Strengths(group_lasso=(0.003, 0.01, 0.02, 0.03, 0.045), ranks=(32, 16, 8, 5, 3)),
    ),
    transfer=Transfer(
        "classes:0-4:digits",
        "classes:5-9:digits",
        _linf(0.04),
        _l2(0.25),
        Strengths(group_lasso=(0.002, 0.005, 0.01, 0.03, 0.06), ranks=(32, 16, 8, 5, 3)),
    ),
)
CLUSTERS: Final = Setting(
    name="clusters MLP",
    base=Trial(data="synthetic:spectrum", test=500, model=_MLP, training=_RUN),
    seeds=SEEDS,
    linf=_linf(0.025),
    l2=_l2(0.15),
    wide=_linf(0.06),
    held=Strengths(
        group_lasso=(0.003, 0.01, 0.03, 0.06, 0.1),
        nuclear=(0.003, 0.01, 0.03, 0.06, 0.1),
        ranks=(32, 16, 8, 5, 3),
    ),
    free=Strengths(
        group_lasso=(0.0002, 0.0005, 0.001, 0.002, 0.005),
        nuclear=(0.0005, 0.001, 0.002, 0.005, 0.008),
        ranks=(32, 16, 8, 5, 3),
        planted=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    ),
)
_KNOWN: Final = Strengths(ranks=(32, 16, 8, 3, 1))
# Of rank one: a linear network is the most accurate one.
LINE: Final = Setting(
    name="two Gaussians, MLP",
    base=Trial(data="synthetic:linear", test=1000, model=_MLP, training=_RUN),
    seeds=SEEDS,
    linf=_linf(0.02),
    l2=_l2(0.1),
    wide=_linf(0.04),
    held=Strengths(),
    free=Strengths(),
    known=_KNOWN,
)
# Of rank two: a network of four hidden neurons is.
PLANES: Final = Setting(
    name="signs of two planes, MLP",
    base=Trial(data="synthetic:two-layer", test=1000, model=_MLP, training=_RUN),
    seeds=SEEDS,
    linf=_linf(0.008),
    l2=_l2(0.03),
    wide=_linf(0.02),
    held=Strengths(),
    free=Strengths(),
    known=_KNOWN,
)
