"""Which nets a report shows, each with one colour, one sign and one line style that it keeps everywhere on the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from brittle.results.audit import Audit, ModelInfo, Paired
from brittle.results.robustness import Robustness, threat_key

# Told apart with every common colour blindness, and at least 3:1 on white and on the dark background.
_BASE = ("#6b7280", "circle", "●", "dot")
_CHILDREN = (
    ("#0072b2", "square", "■", "solid"),
    ("#d9660a", "diamond", "◆", "solid"),
    ("#a3489b", "triangle-up", "▲", "solid"),
    ("#00857a", "triangle-down", "▼", "solid"),
    ("#8a6d00", "cross", "✚", "solid"),
    ("#b3324a", "hexagon", "⬢", "solid"),
    ("#4f5fd0", "star", "★", "solid"),
)


@dataclass(frozen=True)
class Net:
    """A net in the report; `audit` is None for a base that is known only through its comparisons."""

    key: str
    name: str
    model: ModelInfo
    audit: Audit | None
    is_base: bool
    colour: str
    symbol: str
    sign: str
    dash: str


def nets(audits: Sequence[Audit]) -> tuple[Net, ...]:
    """Bases first, then the other audits in the order given; equal names are numbered."""
    bases: list[tuple[ModelInfo, Audit | None]] = []
    for model in _unique(audit.comparison.base for audit in audits if audit.comparison is not None):
        bases.append((model, next((a for a in audits if a.comparison is None and _same(a.model, model)), None)))
    taken = [id(audit) for _, audit in bases if audit is not None]
    entries = [(model, audit, True) for model, audit in bases]
    entries += [(audit.model, audit, False) for audit in audits if id(audit) not in taken]
    shown: list[Net] = []
    seen: dict[str, int] = {}
    plain = 0
    for i, (model, found, is_base) in enumerate(entries):
        seen[model.name] = seen.get(model.name, 0) + 1
        name = model.name if seen[model.name] == 1 else f"{model.name} ({seen[model.name]})"
        if is_base and i == 0:
            look = _BASE
        else:
            look = _CHILDREN[plain % len(_CHILDREN)]
            plain += 1
        shown.append(Net(f"n{i}", name, model, found, is_base, *look))
    return tuple(shown)


def children(shown: Sequence[Net]) -> tuple[Net, ...]:
    """The nets that were compared with a base."""
    return tuple(net for net in shown if net.audit is not None and net.audit.comparison is not None)


def base_of(net: Net, shown: Sequence[Net]) -> Net | None:
    """The base that `net` was compared with."""
    if net.audit is None or net.audit.comparison is None:
        return None
    model = net.audit.comparison.base
    return next((other for other in shown if other.is_base and _same(other.model, model)), None)


def threats(audits: Sequence[Audit]) -> tuple[tuple[str, float], ...]:
    """Every (norm, radius) of any audit: norms in the order met, radii growing."""
    found = {(r.norm, r.epsilon) for a in audits for r in a.robustness}
    found |= {(p.norm, p.epsilon) for a in audits if a.comparison is not None for p in a.comparison.paired}
    order = norms(audits)
    return tuple(sorted(found, key=lambda threat: (order.index(threat[0]), threat[1])))


def norms(audits: Sequence[Audit]) -> list[str]:
    """The norms measured, l_inf first."""
    found = {r.norm for a in audits for r in a.robustness}
    found |= {p.norm for a in audits if a.comparison is not None for p in a.comparison.paired}
    found |= {norm for a in audits for norm in a.bounds}
    return sorted(found, key=lambda norm: (norm != "linf", norm != "l2", norm))


def robustness_at(net: Net, norm: str, epsilon: float) -> Robustness | None:
    """What was measured for this net at this threat."""
    if net.audit is None:
        return None
    key = threat_key(norm, epsilon)
    return next((r for r in net.audit.robustness if threat_key(r.norm, r.epsilon) == key), None)


def paired_at(net: Net, norm: str, epsilon: float) -> Paired | None:
    """How this net compares with its base at this threat."""
    if net.audit is None or net.audit.comparison is None:
        return None
    key = threat_key(norm, epsilon)
    return next((p for p in net.audit.comparison.paired if threat_key(p.norm, p.epsilon) == key), None)


def _same(one: ModelInfo, other: ModelInfo) -> bool:
    return one.name == other.name and one.parameters == other.parameters


def _unique(models: Iterable[ModelInfo]) -> list[ModelInfo]:
    kept: list[ModelInfo] = []
    for model in models:
        if not any(_same(model, other) for other in kept):
            kept.append(model)
    return kept
