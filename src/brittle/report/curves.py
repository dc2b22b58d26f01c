"""Singular values and row norms of every layer as compact data for the layer curves (the page's size is limited)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brittle.report.nets import Net

MAX_CHARACTERS = 200_000
_CHARACTERS_PER_POINT = 7


def curves(shown: Sequence[Net]) -> list[dict[str, Any]]:
    """For each layer name its sorted values by net: `{"name", "sigma": {net: [..]}, "rows": {net: [..]}}`.

    Values have four digits; long lists are thinned evenly, first and last kept, so that all fit MAX_CHARACTERS.
    """
    audited = [net for net in shown if net.audit is not None]
    lists = sum(2 * len(net.audit.layers) for net in audited if net.audit is not None)
    limit = max(8, min(256, MAX_CHARACTERS // (_CHARACTERS_PER_POINT * max(1, lists))))
    layers: dict[str, dict[str, Any]] = {}
    for net in audited:
        assert net.audit is not None
        for layer in net.audit.layers:
            entry = layers.setdefault(layer.name, {"name": layer.name, "sigma": {}, "rows": {}})
            entry["sigma"][net.key] = _thin(layer.singular_values, limit)
            entry["rows"][net.key] = _thin(layer.row_norms, limit)
    return list(layers.values())


def _thin(values: Sequence[float], limit: int) -> list[float]:
    n = len(values)
    picked = range(n) if n <= limit else [round(i * (n - 1) / (limit - 1)) for i in range(limit)]
    return [float(f"{values[i]:.4g}") for i in picked]
