"""What the compression page says in words: the outcome, its price, and how numbers of sizes are written."""

from __future__ import annotations

from collections.abc import Sequence

from brittle.report import format as fmt
from brittle.report.rule import WORDS, Word
from brittle.results.compression import CompressionResult, Drop, Robust, Scored, Size

# Units of file sizes.
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
# Gate's answers as shown.
HELD = Word("gate held", "✓", "robust")
FAILED = Word("gate failed", "!", "brittle")


def gate_word(result: CompressionResult) -> Word | None:
    """The gate's answer, None without a gate."""
    return None if result.gate is None else HELD if result.gate.held else FAILED


def verdict_word(result: CompressionResult) -> Word | None:
    """The audit's verdict on the child, None where there was no comparison."""
    return None if result.verdict is None else WORDS[result.verdict.brittle]


def compression_headline(result: CompressionResult) -> str:
    """What came out, in one sentence: how much smaller, and what it cost."""
    before, after = result.parent_size.parameters, result.child_size.parameters
    lead = "As many parameters" if before < 1.05 * after else f"{times(before, after)} fewer parameters"
    if result.child_size.nonzero < 0.99 * result.child_size.parameters:
        share = result.child_size.nonzero / max(1, result.child_size.parameters)
        lead += f", {fmt.percent(share)} of them not zero"
    if result.child_size.bits < result.parent_size.bits:
        lead += f", {result.child_size.bits} bits a weight in place of {result.parent_size.bits}"
    if not result.drops:
        return f"{lead}; what it cost was not measured to the end"
    return f"{lead}; {', '.join(_costs(result.drops))}"


def _costs(drops: Sequence[Drop]) -> list[str]:
    """Drops in words: clean, then "under attack at ... points", then the other radii."""
    words = []
    for drop in drops:
        if drop.norm == "clean":
            words.append(f"clean accuracy {_change(drop)} points")
        elif any(word.startswith("under attack") for word in words):
            words.append(f"at {fmt.threat(drop.norm, drop.epsilon)} {_change(drop)}")
        else:
            words.append(f"under attack at {fmt.threat(drop.norm, drop.epsilon)} {_change(drop)} points")
    return words


def _change(drop: Drop) -> str:
    """A drop as a change of accuracy: 3.2 -> "−3.2"."""
    return fmt.points(-drop.points)


def times(before: int, after: int) -> str:
    """A ratio of sizes: (335114, 41700) -> "8.0 times"."""
    return f"{before / max(1, after):.1f} times"


def facts(result: CompressionResult) -> list[tuple[str, str, str]]:
    """(label, value, detail) of the few numbers on top."""
    before, after = result.parent_size, result.child_size
    shown = [
        (
            "parameters",
            fmt.percent(after.parameters / max(1, before.parameters)),
            f"{fmt.count(before.parameters)} → {fmt.count(after.parameters)}, "
            f"asked for {fmt.percent(result.asked.keep)}",
        )
    ]
    if result.after is not None and result.parent_scores is not None:
        drops = {(drop.norm, drop.epsilon): drop for drop in result.drops}
        shown.append(
            (
                "clean accuracy",
                fmt.percent(result.after.clean),
                _against(result.parent_scores.clean, drops.get(("clean", 0.0))),
            )
        )
        parents = by_threat(result.parent_scores)
        for row in result.after.robust[:2]:
            base = parents.get((row.norm, row.epsilon))
            detail = _against(None if base is None else base.attacked, drops.get((row.norm, row.epsilon)))
            shown.append((f"under attack, {fmt.threat(row.norm, row.epsilon)}", fmt.percent(row.attacked), detail))
    return shown


def _against(parent: float | None, drop: Drop | None) -> str:
    text = f"parent {fmt.percent(parent)}"
    if drop is None:
        return text
    return f"{text}; drop {fmt.points(drop.points)} points, 95% {fmt.points_interval(drop.interval95)}"


def recovery_sentence(result: CompressionResult) -> str:
    """How the accuracy was won back."""
    r = result.recovery
    if r is None:
        return "There was no recovery: the weights are those that the compression left."
    against = "" if r.norm is None or r.epsilon is None else f" against {fmt.threat(r.norm, r.epsilon)}"
    kept = "the start was best and is kept" if r.best_epoch == 0 else f"epoch {r.best_epoch} of {r.epochs} was kept"
    added = "".join(f", penalty {name} {strength:g}" for name, strength in r.penalties.items())
    return (
        f"Recovery: {r.kind}{against}, {fmt.number(r.spent)} of {fmt.number(r.asked)} gradient evaluations for each "
        f"training image, learning rate {r.learning_rate:g}{added}; {kept} ({fmt.seconds(r.seconds)})."
    )


def latency_label(size: Size) -> str:
    """What was timed: "latency of 64 samples on one thread"."""
    return f"latency of {fmt.plural(size.latency_batch or 1, 'sample')} on one thread"


def latency_text(size: Size) -> str:
    """The median with its quartiles, behind the sign of an estimate."""
    if size.latency_ms is None:
        return fmt.MISSING
    spread = ""
    if size.latency_interval is not None:
        spread = f" [{size.latency_interval[0]:.3g}, {size.latency_interval[1]:.3g}]"
    return f"≈ {size.latency_ms:.3g} ms{spread}"


def bytes_text(count: int | None) -> str:
    """A file's size: 1340456 -> "1.34 MB"."""
    if count is None:
        return fmt.MISSING
    for unit, name in _BYTES:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} B"


def by_threat(scored: Scored) -> dict[tuple[str, float], Robust]:
    """The attacked accuracies of a score by norm and radius."""
    return {(row.norm, row.epsilon): row for row in scored.robust}
