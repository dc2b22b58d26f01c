"""Sums of the attribution over layers: log scale + log structure = change of the log product of layer norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.report.nets import Net, base_of, children


@dataclass(frozen=True)
class SumRow:
    """One net and norm; `total` is the sum of `scale` and `structure`, `times` the same as a factor."""

    net: Net
    norm: str
    scale: str
    structure: str
    total: str
    times: str


def sum_rows(shown: Sequence[Net], norms: Sequence[str]) -> tuple[SumRow, ...]:
    """A row for each compared net and norm that has an attribution."""
    rows = []
    for net in children(shown):
        assert net.audit is not None
        assert net.audit.comparison is not None
        changes = net.audit.comparison.attribution
        for norm in norms:
            field = f"log_structure_{norm}"
            if not changes or not hasattr(changes[0], field):
                continue
            scale = sum(c.log_scale for c in changes)
            structure = sum(float(getattr(c, field)) for c in changes)
            total = scale + structure
            rows.append(
                SumRow(
                    net,
                    fmt.norm(norm),
                    fmt.logs(scale),
                    fmt.logs(structure),
                    fmt.logs(total),
                    fmt.factor(math.exp(total)),
                )
            )
    return tuple(rows)


def cautions(shown: Sequence[Net]) -> tuple[str, ...]:
    """The caution sentences of all comparisons, each once."""
    found = [net.audit.comparison.caution for net in children(shown) if net.audit and net.audit.comparison]
    return tuple(dict.fromkeys(text for text in found if text))


def unmatched(shown: Sequence[Net]) -> tuple[tuple[Net, str, str], ...]:
    """(net, base, layers) where layers had no counterpart, so that the sums leave them out."""
    rows = []
    for net in children(shown):
        assert net.audit is not None
        assert net.audit.comparison is not None
        layers = net.audit.comparison.unmatched
        base = base_of(net, shown)
        if layers:
            rows.append((net, base.name if base else net.audit.comparison.base.name, ", ".join(layers)))
    return tuple(rows)
