"""The answer in plain words: for each net a verdict, by how much, at which threat, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.report.findings import findings
from brittle.report.nets import Net, base_of, children
from brittle.report.rule import BRITTLE, NOT_BRITTLE, PROFILE, UNDECIDED, Word, audit_word, max_drop, pair_word
from brittle.results.audit import Audit, Paired

Fact = tuple[str, str, str, str]


@dataclass(frozen=True)
class Headline:
    """One net's card. `facts` are (label, value, status or "", detail); `findings` more sentences."""

    net: Net
    word: Word
    sentence: str
    facts: tuple[Fact, ...]
    next_steps: tuple[str, ...]
    why: tuple[str, ...]
    findings: tuple[str, ...] = ()


def summary(shown: Sequence[Net]) -> str:
    """All verdicts in one line: "One of three compressed nets is brittle, one is undecided, one is not brittle"."""
    compared = children(shown)
    if not compared:
        return "A profile: there is no base to compare with, so there is no verdict."
    parts: list[str] = []
    words = [audit_word(net.audit).text for net in compared if net.audit is not None]
    for word in (BRITTLE.text, UNDECIDED.text, NOT_BRITTLE.text, PROFILE.text):
        n, phrase = words.count(word), "without a verdict" if word == PROFILE.text else word
        if n and not parts:
            many = f"{fmt.spelt(n)} of {fmt.spelt(len(words))} compressed nets".capitalize()
            lead = "The compressed net" if len(words) == 1 else many
            parts.append(f"{lead} {'is' if n == 1 else 'are'} {phrase}")
        elif n:
            parts.append(f"{fmt.spelt(n)} {'is' if n == 1 else 'are'} {phrase}")
    return ", ".join(parts) + "."


def headline(net: Net, shown: Sequence[Net]) -> Headline:
    """The card of a net that was audited."""
    assert net.audit is not None
    audit = net.audit
    comparison = audit.comparison
    word = audit_word(audit)
    why = audit.verdict.why if audit.verdict is not None else ()
    if comparison is None or not comparison.paired:
        return Headline(
            net,
            PROFILE,
            _profile_sentence(net.name, audit),
            _profile_facts(audit),
            _profile_steps(audit),
            why,
            findings(audit, *_first_threat(audit)),
        )
    base = base_of(net, shown)
    base_name = base.name if base is not None else comparison.base.name
    pair = deciding_pair(audit, word)
    return Headline(
        net,
        word,
        _sentence(net.name, base_name, audit, pair, word),
        _facts(audit, pair),
        (*_steps(audit, pair, word), *_preflight_step(audit)),
        why,
        findings(audit, pair.norm, pair.epsilon),
    )


def deciding_pair(audit: Audit, word: Word) -> Paired:
    """The threat a verdict rests on: the surest drop for brittle, the largest possible drop otherwise."""
    assert audit.comparison is not None
    pairs = audit.comparison.paired
    fitting = [p for p in pairs if pair_word(p, max_drop(audit)) == word] or list(pairs)
    end = 0 if word in (BRITTLE, PROFILE) else 1
    return max(fitting, key=lambda p: (p.interval95[end], -p.epsilon))


def _sentence(name: str, base: str, audit: Audit, pair: Paired, word: Word) -> str:
    pairs = audit.comparison.paired if audit.comparison is not None else ()
    where, drop = fmt.threat(pair.norm, pair.epsilon), fmt.points(pair.drop_points)
    low, high = (fmt.points(end) for end in pair.interval95)
    span = f"95% interval {low} to {high}, n = {fmt.count(pair.n)}"
    tolerance = f"{max_drop(audit):.1f}"
    tested = fmt.plural(len(pairs), "threat")
    if word == BRITTLE:
        hit = sum(pair_word(p, max_drop(audit)) == BRITTLE for p in pairs)
        return (
            f"{name} is brittle. Under {where} its robust accuracy is {drop.lstrip('+')} points below that of {base} "
            f"({span}); {tolerance} are tolerated. Brittle at {hit} of {tested} tested."
        )
    if word == NOT_BRITTLE:
        return (
            f"{name} is not brittle at the {tested} tested. Its least certain one is {where}: a drop against {base} of "
            f"{drop} points ({span}), below the tolerated {tolerance}."
        )
    if word == UNDECIDED:
        return (
            f"{name} is undecided. Under {where} the drop against {base} is {drop} points ({span}), and that interval "
            f"contains the tolerated {tolerance}."
        )
    return f"{name} was compared with {base}, without a verdict. Its surest drop: {drop} points under {where} ({span})."


def _facts(audit: Audit, pair: Paired) -> tuple[Fact, ...]:
    assert audit.comparison is not None
    where = fmt.threat(pair.norm, pair.epsilon)
    share = audit.model.parameters / audit.comparison.base.parameters if audit.comparison.base.parameters else None
    robust = f"{fmt.percent(pair.base_robust)} → {fmt.percent(pair.robust)}"
    clean = f"{fmt.points(pair.clean_drop_points)} points"
    noise = f"{fmt.points(pair.noise_drop_points)} points"
    return (
        ("Accuracy under attack", robust, "upper_bound", f"base → this net, {where}, n = {fmt.count(pair.n)}"),
        ("Clean drop", clean, "estimate", f"95% {fmt.points_interval(pair.clean_interval95)}, n = {fmt.count(pair.n)}"),
        ("Random-noise drop", noise, "estimate", "control: noise of the same length"),
        ("Size", fmt.percent(share), "", f"{fmt.count(audit.model.parameters)} parameters, share of the base"),
    )


def _steps(audit: Audit, pair: Paired, word: Word) -> tuple[str, ...]:
    if word == NOT_BRITTLE:
        return (
            "Nothing stands against shipping it at these threats. Before a release, audit with `--effort thorough`.",
        )
    steps = []
    if word == UNDECIDED:
        return (_more_samples(pair),)
    if pair.drop_points > 0 and pair.clean_drop_points >= 0.7 * pair.drop_points:
        steps.append("Most of the drop is there on clean inputs already: fine-tune first, then audit again.")
    elif pair.drop_points > 0 and pair.noise_drop_points >= 0.5 * pair.drop_points:
        steps.append(
            "Random noise costs much of it too: the net is fragile in general, not only to attacks. Fine-tune first."
        )
    grown = _grown_layer(audit, pair.norm)
    if grown is not None:
        steps.append(grown)
    steps.append("Keep a larger fraction, or reach the size in another way, and audit both against the same base.")
    return tuple(steps)


def _more_samples(pair: Paired) -> str:
    if pair.samples_to_decide is not None:
        return (
            f"Measure more samples: about {fmt.count(pair.samples_to_decide)} would decide, if the drop stays "
            f"what it is (`--samples {pair.samples_to_decide}`)."
        )
    return f"Measure more samples: {fmt.count(pair.samples_for_1_point)} would narrow the interval to ±1 point."


def _grown_layer(audit: Audit, norm: str) -> str | None:
    """The layer whose structure factor grew most, as advice; None where none grew by 10 % or more."""
    assert audit.comparison is not None
    changes = [(_structure(change, norm), change.layer) for change in audit.comparison.attribution]
    if not changes or max(changes)[0] < 0.095:
        return None
    log, layer = max(changes)
    return (
        f"Look at layer {layer} first: its {fmt.norm(norm)} structure factor grew most, {fmt.factor(math.exp(log))}. "
        "Compress that layer less."
    )


def _structure(change: object, norm: str) -> float:
    value: float = getattr(change, f"log_structure_{norm}", 0.0)
    return value


def _preflight_step(audit: Audit) -> tuple[str, ...]:
    problems = [check for check in audit.preflight if check.verdict == "problem"]
    if not problems:
        return ()
    return (f"Before trusting the numbers, settle {fmt.plural(len(problems), 'preflight problem')} (listed below).",)


def _first_threat(audit: Audit) -> tuple[str, float]:
    return (audit.robustness[0].norm, audit.robustness[0].epsilon) if audit.robustness else ("", 0.0)


def _profile_sentence(name: str, audit: Audit) -> str:
    if not audit.robustness:
        return f"{name}: structure and bounds only; no accuracy was measured."
    first = audit.robustness[0]
    where, interval = fmt.threat(first.norm, first.epsilon), fmt.percent_interval(first.interval95)
    return (
        f"{name} was profiled without a base, so there is no verdict. Under {where} its robust accuracy lies between "
        f"{fmt.percent(first.certified)} (certified) and {fmt.percent(first.attacked)} (under attack; 95% interval "
        f"{interval}, n = {fmt.count(first.n)})."
    )


def _profile_facts(audit: Audit) -> tuple[Fact, ...]:
    size = ("Size", fmt.count(audit.model.parameters), "", "parameters")
    if not audit.robustness:
        return (size,)
    first = audit.robustness[0]
    where = fmt.threat(first.norm, first.epsilon)
    return (
        ("Clean accuracy", fmt.percent(first.clean), "", f"n = {fmt.count(first.n)}"),
        (
            "Accuracy under attack",
            fmt.percent(first.attacked),
            "upper_bound",
            f"{where}, 95% {fmt.percent_interval(first.interval95)}",
        ),
        ("Under random noise", fmt.percent(first.noise), "estimate", "control: noise of the same length"),
        size,
    )


def _profile_steps(audit: Audit) -> tuple[str, ...]:
    return ("Audit again with `--against BASE` to learn what compression changed.", *_preflight_step(audit))
