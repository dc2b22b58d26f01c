"""What the training page says in words and tables."""

from __future__ import annotations

from collections.abc import Sequence

from brittle.report import format as fmt
from brittle.report.figure import thinned
from brittle.report.recipe_words import recipe_words
from brittle.report.training_lines import QUANTITIES, layer_lines, value_of
from brittle.results.training import EpochRow, Tracked, TrackedLayer, TrainingHistory

# Rows of the table of epochs; the JSON holds all of them.
_EPOCH_ROWS = 60


def best_row(history: TrainingHistory) -> EpochRow:
    """The row of the epoch whose weights the model has."""
    return next(row for row in history.rows if row.epoch == history.best_epoch)


def training_headline(history: TrainingHistory) -> str:
    """What came out, in one sentence."""
    best = best_row(history)
    tail = f"; patience ran out after epoch {history.rows[-1].epoch}" if history.stopped_early else ""
    return (
        f"Epoch {best.epoch} of {history.settings.epochs} has the best validation accuracy: "
        f"{fmt.percent(best.validation_accuracy)}{tail}"
    )


def facts(history: TrainingHistory, seen: Sequence[tuple[int, Tracked]]) -> list[tuple[str, str, str]]:
    """(label, value, detail) of the few numbers on top."""
    best = best_row(history)
    shown = [
        (
            "clean accuracy",
            fmt.percent(best.validation_accuracy),
            f"{fmt.count(history.validation.samples)} validation samples, the ones that chose the epoch",
        )
    ]
    epoch, near = _nearest(history, seen)
    if near is not None:
        where = "at the best epoch" if epoch == best.epoch else f"at epoch {epoch}, the look nearest to the best epoch"
        for a in near.attacked[:2]:
            title = f"under attack, {fmt.threat(a.norm, a.epsilon)}"
            detail = f"at most; {a.attack}, 95% {fmt.percent_interval(a.interval95)}, n = {near.n}, {where}"
            shown.append((title, fmt.percent(a.accuracy), detail))
    gradients = history.rows[-1].gradients
    shown.append(("work", fmt.number(gradients), f"gradients of one sample, in {fmt.seconds(history.seconds)}"))
    return shown


def _nearest(history: TrainingHistory, seen: Sequence[tuple[int, Tracked]]) -> tuple[int, Tracked | None]:
    """The look nearest to the best epoch, the later one of two; the look before the first step is of another net."""
    after = [(epoch, tracked) for epoch, tracked in seen if epoch > 0]
    if not after:
        return 0, None
    return min(after, key=lambda look: (abs(look[0] - history.best_epoch), -look[0]))


def layer_rows(seen: Sequence[tuple[int, Tracked]]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """For each layer its name, shape, and (first, last) value of each quantity."""
    if not seen:
        return []
    first, last = ({layer.name: layer for layer in look[1].layers} for look in (seen[0], seen[-1]))
    names = dict.fromkeys(layer.name for _, tracked in seen for layer in tracked.layers)
    assert len(names) == len(layer_lines(seen))
    rows = []
    for name in names:
        layer = last.get(name) or first[name]
        values = [(_shown(first.get(name), q.key), _shown(last.get(name), q.key)) for q in QUANTITIES]
        rows.append((name, fmt.shape(layer.shape), values))
    return rows


def _shown(layer: TrackedLayer | None, quantity: str) -> str:
    return fmt.MISSING if layer is None else fmt.number(value_of(layer, quantity))


def epoch_rows(history: TrainingHistory) -> list[tuple[str, bool, list[str]]]:
    """(epoch, whether it is the best, cells): losses, accuracies, rate, gradients; long runs are thinned, best kept."""
    places = {*thinned(len(history.rows), _EPOCH_ROWS), history.rows.index(best_row(history))}
    rows = []
    for row in (history.rows[i] for i in sorted(places)):
        attacked = row.tracked.attacked if row.tracked is not None else ()
        cells = [
            fmt.number(row.loss),
            fmt.number(row.validation_loss),
            fmt.percent(row.validation_accuracy),
            " / ".join(fmt.percent(a.accuracy) for a in attacked) or fmt.MISSING,
            fmt.number(row.learning_rate),
            fmt.number(row.gradients),
        ]
        rows.append((str(row.epoch), row.epoch == history.best_epoch, cells))
    return rows


def plan_rows(history: TrainingHistory) -> list[tuple[str, str]]:
    """(label, value): the plan."""
    s = history.settings
    noise = (
        "none" if s.gradient_noise is None else f"alpha {s.gradient_noise.alpha:g}, scale {s.gradient_noise.scale:g}"
    )
    penalties = "; ".join(
        f"{p.name}, strength {p.strength:g}{', proximal steps' if p.proximal else ''}" for p in s.penalties
    )
    return [
        ("objective", f"{s.objective} ({s.cost:g} gradients for one sample in one step)"),
        ("penalties", penalties or "none"),
        ("scale held", "yes, the Frobenius norm of each chosen layer" if s.hold_scale else "no"),
        ("layers chosen", ", ".join(s.layers) or "none"),
        ("epochs, batch", f"{s.epochs}, {s.batch_size}"),
        ("optimiser", f"{s.optimiser}, momentum {s.momentum:g}, weight decay {s.weight_decay:g}"),
        ("learning rate", f"{s.learning_rate:g}, {s.schedule}"),
        ("label noise", fmt.percent(s.label_noise)),
        ("gradient noise", noise),
        ("clipping, patience", f"{s.clip if s.clip is not None else 'none'}, {s.patience or 'none'}"),
    ]


def reproduce_rows(history: TrainingHistory, data: str) -> list[tuple[str, str]]:
    """(label, value): everything beside the plan."""
    s = history.settings
    return [
        ("data", data),
        ("train", f"{fmt.count(history.train.samples)} samples, sha256 {history.train.sha256}"),
        ("validation", f"{fmt.count(history.validation.samples)} samples, sha256 {history.validation.sha256}"),
        ("recipe", recipe_words(history.recipe, "not from the zoo")),
        ("parameters", fmt.count(history.parameters)),
        ("seed", str(s.seed)),
        ("device, precision", f"{s.device}, {s.precision}"),
        ("brittle, torch", f"{history.brittle}, {s.torch}"),
        ("time", fmt.seconds(history.seconds)),
    ]
