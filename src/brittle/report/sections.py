"""The page's sections in order, numbered over those that have something to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brittle.results.audit import Audit

# Name of the section, what the navigation calls it.
SECTIONS: tuple[tuple[str, str], ...] = (
    ("verdict", "Verdict"),
    ("comparison", "Comparison"),
    ("why", "Where and why"),
    ("directions", "Directions"),
    ("beyond", "Radii and transfer"),
    ("layers", "Layers"),
    ("bounds", "Bounds"),
    ("examples", "Examples"),
    ("limits", "Not measured"),
    ("reproduce", "Reproduce"),
)


@dataclass(frozen=True)
class Section:
    """A section on the page: its anchor, its name in the navigation, its number."""

    name: str
    label: str
    number: int


def sections(audits: Sequence[Audit]) -> tuple[Section, ...]:
    """The sections of these audits: directions and perturbations only where an audit has some."""
    empty = set()
    if not any(a.directions or a.explained or a.amplification or a.landscapes or a.probes for a in audits):
        empty.add("directions")
    if not any(a.radii or a.universal or a.weight_free or _transferred(a) for a in audits):
        empty.add("beyond")
    kept = [(name, label) for name, label in SECTIONS if name not in empty]
    return tuple(Section(name, label, i) for i, (name, label) in enumerate(kept, start=1))


def _transferred(audit: Audit) -> bool:
    return audit.comparison is not None and bool(audit.comparison.transfer or audit.comparison.weight_free)
