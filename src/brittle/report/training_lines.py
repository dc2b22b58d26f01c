"""The lines of the training page: one for each layer, or each accuracy, with a colour and a sign that it keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.report.figure import short
from brittle.results.training import Tracked, TrackedLayer, TrainingHistory

# As the audit's page: told apart with every common colour blindness.
LOOKS = (
    ("#0072b2", "square", "■", "solid"),
    ("#d9660a", "diamond", "◆", "solid"),
    ("#a3489b", "triangle-up", "▲", "solid"),
    ("#00857a", "triangle-down", "▼", "solid"),
    ("#8a6d00", "cross", "✚", "solid"),
    ("#b3324a", "hexagon", "⬢", "solid"),
    ("#4f5fd0", "star", "★", "solid"),
)
NEUTRAL = ("#6b7280", "circle", "●", "dot")


@dataclass(frozen=True)
class Line:
    """A named thing that is followed over the epochs."""

    key: str
    name: str
    colour: str
    symbol: str
    sign: str
    dash: str


@dataclass(frozen=True)
class Quantity:
    """What is followed of a layer: its name in choosers, what it says, and whether its axis is logarithmic."""

    key: str
    label: str
    meaning: str
    logarithmic: bool


QUANTITIES: tuple[Quantity, ...] = (
    Quantity("effective_rank", "effective rank", "exp of the entropy of the singular values' shares", False),
    Quantity("stable_rank", "stable rank", "squared Frobenius norm over the squared largest singular value", False),
    Quantity(
        "spectral_epsilon", "spectral residual", "what the leading singular values leave of their l_1 norm", False
    ),
    Quantity("neuron_epsilon", "neuron residual", "what the leading row norms leave of their l_1 norm", False),
    Quantity("frobenius", "Frobenius norm", "the layer's scale", False),
    Quantity("l2", "operator norm, ℓ₂", "largest stretch of the ℓ₂ length of the layer's input", True),
    Quantity("linf", "operator norm, ℓ∞", "largest stretch of the ℓ∞ length of the layer's input", True),
)


def looks(history: TrainingHistory) -> list[tuple[int, Tracked]]:
    """(epoch, what was seen) of every look of the tracker, epoch 0 before the first step."""
    return list(_looks(history))


def _looks(history: TrainingHistory) -> Iterator[tuple[int, Tracked]]:
    if history.start is not None:
        yield 0, history.start
    for row in history.rows:
        if row.tracked is not None:
            yield row.epoch, row.tracked


def value_of(layer: TrackedLayer, quantity: str) -> float | None:
    """A layer's value of the quantity with that key; None where it has no such norm."""
    if quantity in ("linf", "l2"):
        return layer.norms[quantity].value if quantity in layer.norms else None
    return float(getattr(layer, quantity))


def layer_lines(seen: Sequence[tuple[int, Tracked]]) -> tuple[Line, ...]:
    """A line for each layer that any look met, in the order met."""
    names = dict.fromkeys(layer.name for _, tracked in seen for layer in tracked.layers)
    return tuple(_line(f"layer-{i}", name, i) for i, name in enumerate(names))


def attack_lines(seen: Sequence[tuple[int, Tracked]]) -> dict[tuple[str, float, str], Line]:
    """A line for each (norm, radius, attack)."""
    found = dict.fromkeys((a.norm, a.epsilon, a.attack) for _, tracked in seen for a in tracked.attacked)
    return {key: _line(f"attack-{i}", f"{fmt.threat(key[0], key[1])}, {key[2]}", i) for i, key in enumerate(found)}


def product_lines(seen: Sequence[tuple[int, Tracked]]) -> tuple[Line, ...]:
    """A line for each norm of the product bound."""
    names = dict.fromkeys(norm for _, tracked in seen for norm in tracked.products)
    return tuple(_line(f"product-{norm}", fmt.norm(norm), i) for i, norm in enumerate(names))


def loss_lines() -> tuple[Line, Line]:
    """What is minimised, and what validation says."""
    return Line("loss", "training objective", *LOOKS[0]), Line("validation", "validation cross-entropy", *NEUTRAL)


def clean_line(name: str) -> Line:
    """What is not attacked: grey."""
    return Line("clean", name, *NEUTRAL)


def _line(key: str, name: str, i: int) -> Line:
    return Line(key, short(name, 44), *LOOKS[i % len(LOOKS)])
