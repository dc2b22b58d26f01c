"""What the pages of a study say in words: verdicts with their signs, the headline, effects as sentences, counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from brittle.report import format as fmt
from brittle.report.rule import Word
from brittle.results.study import CellVerdict, ClaimVerdict, Outcome, StudyResult, Trend

# The verdicts, best known first. Supported says that the claim holds, not that a network is good.
VERDICTS: Final[dict[Outcome, Word]] = {
    "supported": Word("supported", "✓", "robust"),
    "not supported": Word("not supported", "○", "profile"),
    "contradicted": Word("contradicted", "✕", "brittle"),
    "inconclusive": Word("inconclusive", "?", "undecided"),
}
# A cell whose trends could not be tested has no verdict of its own.
UNTESTED: Final = Word("not tested", "–", "undecided")
# The plain spelling in records -> how pages write it.
_SIGNS: Final = (("l_inf", "ℓ∞"), ("l_2", "ℓ₂"), (" <= ", " ≤ "), (" >= ", " ≥ "), ("+-", "±"))
# Not in the name of a measure, "robust.linf@0.05", which people type.
_NORMS: Final = ((re.compile(r"\blinf\b(?!@)"), "ℓ∞"), (re.compile(r"\bl2\b(?!@)"), "ℓ₂"))
_NEGATIVE: Final = re.compile(r"(?<=[\[ (])-(?=\d)")
# Where the parts of `ClaimVerdict.words` after the first begin.
_PARTS: Final = re.compile(r"(?<=\.) (?=The cells |Scale |Left out: )")


def signs(text: str) -> str:
    """A sentence of a record with the field's signs: "l_inf 0.05" -> "ℓ∞ 0.05"."""
    for plain, written in _SIGNS:
        text = text.replace(plain, written)
    for word, written in _NORMS:
        text = word.sub(written, text)
    return _NEGATIVE.sub("−", text)


def headline(result: StudyResult) -> str:
    """How many claims came out how, in one sentence."""
    claims = len(result.claims)
    if not claims:
        return f"{fmt.plural(len(result.trials), 'trial')} measured; no criterion was given, so there is no verdict"
    found = [
        f"{fmt.spelt(n)} {word.text}"
        for outcome, word in VERDICTS.items()
        if (n := sum(claim.outcome == outcome for claim in result.claims))
    ]
    if claims == 1:
        return f"The claim is {result.claims[0].outcome}"
    said = found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"
    return f"Of {fmt.spelt(claims)} claims {said}"


def incomplete(result: StudyResult) -> str:
    """What is missing of a study, "" where nothing is."""
    gone = result.missing + result.failed
    if not gone:
        return ""
    asked = len(result.trials) + gone
    failed = f", {fmt.count(result.failed)} of them because they failed" if result.failed else ""
    return (
        f"{fmt.count(gone)} of {fmt.count(asked)} trials have no answer{failed}. Verdicts are of what is there; the "
        f"same command again runs the rest{' (add `--retry` for the failed ones)' if result.failed else ''}."
    )


def said(claim: ClaimVerdict) -> tuple[str, ...]:
    """The verdict after its first word: what was found, then apart what scale says and what was left out."""
    words = claim.words.partition(": ")[2] or claim.words
    return tuple(part[:1].upper() + part[1:] for part in _PARTS.split(words))


def effects_of(claim: ClaimVerdict) -> tuple[str, ...]:
    """The claim's effects over all its cells, one sentence for each outcome; () where nothing could be tested."""
    return tuple(map(signs, claim.effects))


def seen_in(claim: ClaimVerdict) -> str:
    """In how many of the cells that decide the effect was seen: "2 of 3"; a dash where nothing could be tested."""
    return f"{claim.seen} of {claim.tested}" if claim.effects else fmt.MISSING


def p_text(p: float, *, tested: bool = True) -> str:
    """ "0.013", "<0.001"; a dash where there was no test."""
    return fmt.MISSING if not tested else "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def cell_name(cell: CellVerdict) -> str:
    """The cell with its scale, where that is not the ordinary, free one."""
    return signs(cell.cell if cell.scale == "free" else f"{cell.cell}, scale {cell.scale}")


def cell_word(cell: CellVerdict) -> Word:
    """The cell's own verdict, before any correction."""
    return VERDICTS[cell.outcome] if cell.trends else UNTESTED


def label(claim: ClaimVerdict, name: str) -> str:
    """What a predictor or an outcome is called."""
    return signs(claim.labels.get(name, name))


def effect_text(trend: Trend) -> str:
    """ "−12.3 [−14.4, −10.1]": points with one decimal, correlations with two, others in three digits."""
    low, high = trend.effect.interval95
    if trend.effect.unit == "points":
        return f"{fmt.points(trend.effect.value)} {fmt.points_interval((low, high))}"
    form = "+.2f" if trend.effect.unit == "rho" else "+.3g"
    value, low_text, high_text = (f"{one:{form}}".replace("-", "−") for one in (trend.effect.value, low, high))
    return f"{value} [{low_text}, {high_text}]"


def with_unit(name: str, units: Sequence[str]) -> str:
    """A quantity's name with the unit of its effects, where they have one and the name does not say it."""
    unit = units[0] if len(set(units)) == 1 else ""
    return name if not unit or unit in name else f"{name}, {unit.replace('rho', 'ρ')}"


def interval_text(bounds: tuple[float, float]) -> str:
    """ "[−0.97, −0.85]": correlations."""
    return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]".replace("-", "−")
