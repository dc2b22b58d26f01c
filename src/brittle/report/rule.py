"""The verdict rule and its words: brittle, not brittle, undecided; a profile where there is no base to compare with."""

from __future__ import annotations

from dataclasses import dataclass

from brittle.compare import pair_verdict
from brittle.results.audit import Audit, Paired

DEFAULT_MAX_DROP = 2.0  # percentage points; only for a comparison that came without a verdict record


@dataclass(frozen=True)
class Word:
    """A verdict as shown: the word, a sign so that colour is never alone, and the class its colour hangs on."""

    text: str
    sign: str
    css: str


BRITTLE = Word("brittle", "!", "brittle")
NOT_BRITTLE = Word("not brittle", "✓", "robust")
UNDECIDED = Word("undecided", "?", "undecided")
PROFILE = Word("profile", "i", "profile")
WORDS = {True: BRITTLE, False: NOT_BRITTLE, None: UNDECIDED}


def max_drop(audit: Audit) -> float:
    """The tolerated drop of this audit in percentage points."""
    return audit.verdict.max_drop_points if audit.verdict is not None else DEFAULT_MAX_DROP


def pair_word(paired: Paired, tolerance: float) -> Word:
    """One threat: brittle if the paired interval lies above the tolerance (points), not brittle if it lies below."""
    return WORDS[pair_verdict(paired.interval95, tolerance)]


def audit_word(audit: Audit) -> Word:
    """The whole audit: its recorded verdict, or "profile" without one."""
    return PROFILE if audit.verdict is None else WORDS[audit.verdict.brittle]
