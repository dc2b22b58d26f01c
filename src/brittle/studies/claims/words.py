"""Sentences and targets that several claims share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from brittle.studies.statistics.criterion import Target

# Predictors and outcomes by their names in tables.
LABELS: Final = {
    "neuron": "neuron compressibility (share of the leading tenth of row norms, %)",
    "spectral": "spectral compressibility (share of the leading tenth of singular values, %)",
    "clean": "clean accuracy",
    "robust": "robust accuracy",
    "ratio": "the ratio robust / clean",
    "robust_linf": "robust accuracy in l_inf",
    "ratio_linf": "the ratio robust / clean in l_inf",
    "robust_l2": "robust accuracy in l_2",
    "ratio_l2": "the ratio robust / clean in l_2",
}
HELD_DECIDES: Final = (
    "Cells with the hidden layers' Frobenius norms held decide, because a penalty that also shrinks the norms changes "
    "two things at once; the others stand beside them."
)
PLANTED: Final = {
    "rows": "planted: row norms of the dense network concentrated by hand at the same norm, head fitted again; shows "
    "whether the study sees an effect that is there by construction",
    "spectrum": "planted: singular values of the dense network concentrated by hand at the same norm, head fitted "
    "again; shows whether the study sees an effect that is there by construction",
}
SCALE_CONTROL: Final = "scale alone: dense networks held at larger Frobenius norms, no more compressible than before"
# The smallest change of an accuracy or a ratio that anybody would act on, points.
SMALLEST: Final = 2.0


def held_targets(outcomes: Sequence[str], smallest: float = SMALLEST) -> tuple[Target, ...]:
    """Each of these accuracies and ratios falls."""
    return tuple(Target(name, LABELS[name], -1, smallest, limit=0.0) for name in outcomes)
