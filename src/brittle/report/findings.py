"""One or two sentences for a net's card about what else was measured: the leading directions, one perturbation."""

from __future__ import annotations

from brittle.report import format as fmt
from brittle.results.audit import Audit
from brittle.results.directions import Confined, Explained


def findings(audit: Audit, norm: str, epsilon: float) -> tuple[str, ...]:
    """What directions and universal perturbations reach, at the threat given where there is a choice."""
    sentences = (directions_sentence(audit, norm, epsilon), universal_sentence(audit, norm, epsilon))
    return tuple(sentence for sentence in sentences if sentence)


def directions_sentence(audit: Audit, norm: str, epsilon: float) -> str:
    """ "The six leading directions (...) reach 92% of the attack's damage; six random ones 11%."; "" if not measured.

    The record is chosen by what it is, not by its outcome: the norm given, pixels kept in the box, the margin's
    directions, the radius nearest to the one given. Its m is the one that reaches 90 %, else the largest tried.
    """
    usable = [e for e in audit.explained if quoted(e) is not None]
    if not usable:
        return ""
    chosen = min(usable, key=lambda e: (e.norm != norm, not e.box, e.map != "margin", abs(e.epsilon - epsilon)))
    point = quoted(chosen)
    assert point is not None
    where = f"{fmt.threat(chosen.norm, chosen.epsilon)}, n = {fmt.count(chosen.n)}"
    return reach_sentence(point, chosen.map, where)


def quoted(explained: Explained) -> Confined | None:
    """The point of the curve that a sentence speaks of: 90 % of the damage, else the largest m; None without damage."""
    points = [c for c in explained.curve if c.damage is not None]
    if not points:
        return None
    return next((c for c in points if c.m == explained.m_for_90), max(points, key=lambda c: c.m))


def reach_sentence(point: Confined, name: str, where: str) -> str:
    """What `point.m` leading directions reach of the attack's damage, and as many random ones.

    `name` is the map's, `where` stands in brackets.
    """
    many = point.m != 1
    noun = f"{fmt.spelt(point.m)} leading directions" if many else "leading direction"
    other = f"{fmt.spelt(point.m)} random ones" if many else "a random one"
    interval = f" {fmt.percent_interval(point.interval95)}" if point.interval95 is not None else ""
    random = "" if point.random_damage is None else f"; {other} {fmt.percent(point.random_damage)}"
    verb = "reach" if many else "reaches"
    damage = f"{fmt.percent(point.damage)}{interval} of the attack's damage"
    return f"The {noun} of the {name} ({where}) {verb} {damage}{random}."


def universal_sentence(audit: Audit, norm: str, epsilon: float) -> str:
    """What one perturbation for all inputs fools, with its control; "" without one scored on inputs held out."""
    usable = [u for u in audit.universal if u.held_out and u.n and u.target is None]
    if not usable:
        return ""
    chosen = min(usable, key=lambda u: (u.norm != norm, abs(u.epsilon - epsilon), -u.fooling_rate))
    return (
        f"One perturbation for all inputs ({fmt.threat(chosen.norm, chosen.epsilon)}, n = {fmt.count(chosen.n)}) "
        f"changes {fmt.percent(chosen.fooling_rate)} of the predictions; random ones of the same length "
        f"{fmt.percent(chosen.control)}."
    )
