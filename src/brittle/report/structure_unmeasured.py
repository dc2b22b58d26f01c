"""Tensors that were not measured, by reason: a checkpoint has hundreds of them, with few reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.results.layer import Unmeasured

# Names written out for one reason.
_NAMES = 12


@dataclass(frozen=True)
class Group:
    """One reason: how many tensors, and their names with numbers as #, the first few of them."""

    why: str
    count: int
    names: str


def unmeasured_groups(rows: Sequence[Unmeasured]) -> list[Group]:
    """The reasons, most tensors first."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.why, []).append(row.name)
    order = sorted(found.items(), key=lambda item: -len(item[1]))
    return [Group(why, len(names), _listed(names)) for why, names in order]


def _listed(names: Sequence[str]) -> str:
    counts: dict[str, list[str]] = {}
    for name in names:
        counts.setdefault(re.sub(r"[0-9]+", "#", name), []).append(name)
    parts = [same[0] if len(same) == 1 else f"{kind} ({fmt.count(len(same))})" for kind, same in counts.items()]
    return ", ".join(parts[:_NAMES]) + (", …" if len(parts) > _NAMES else "")
