"""Operator norms by the norm's name."""

from __future__ import annotations

from collections.abc import Callable

from brittle.operators.view import LinearView
from brittle.results.layer import NormBound

# l_p -> l_p operator norms of T, as sound sandwiches
OPERATOR_NORMS: dict[str, Callable[[LinearView], NormBound]] = {
    "linf": lambda view: view.linf_norm(),
    "l2": lambda view: view.spectral_norm(),
}
