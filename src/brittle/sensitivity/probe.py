"""The causal probe: change the structure of the hidden weights, hold their scale, and measure robustness again.

Everything that correlates with compressibility is kept apart from it here: the net stays the same but for one spectrum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from brittle.attacks.apgd import APGD
from brittle.attacks.protocol import Attack
from brittle.compressibility.rank import singular_values, stable_rank
from brittle.compression.respectral import (
    concentrate_rows,
    concentrate_spectrum,
    flatten_rows,
    flatten_spectrum,
    layer_matrix,
    weight_layers,
)
from brittle.data.split import Split
from brittle.errors import ModelError, UsageError
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.batches import prepare
from brittle.evaluation.intervals import wilson
from brittle.evaluation.progress import Progress
from brittle.results.directions import Probe
from brittle.sensitivity.probe_norms import measure_norms
from brittle.threats import Ball
from brittle.training.head import head_name, refit_head
from brittle.training.loop import Budget, fit

Change = Callable[[nn.Module, float, Sequence[str]], nn.Module]


@dataclass(frozen=True)
class Intervention:
    """One row of the probe: the word for people, what changes the weights, how far it goes, and of what."""

    change: str
    apply: Change
    strength: float
    of: str = "singular values"


@dataclass(frozen=True)
class Tuning:
    """A short fine-tuning after the head was fitted again; every row gets the same, the first one too.

    Fine-tuning lets the Frobenius norms and spectra drift back: it asks what the change leads to, not what it is. The
    stable rank in the record is that of the change, before fine-tuning.
    """

    validation: Split
    budget: Budget
    seed: int


SPECTRUM = (
    Intervention("as it is", flatten_spectrum, 0.0),
    Intervention("flattened", flatten_spectrum, 0.5),
    Intervention("flattened", flatten_spectrum, 1.0),
    Intervention("concentrated", concentrate_spectrum, 0.5),
    Intervention("concentrated", concentrate_spectrum, 1.0),
)
ROWS = (
    Intervention("as it is", flatten_rows, 0.0, "row norms"),
    Intervention("flattened", flatten_rows, 0.5, "row norms"),
    Intervention("flattened", flatten_rows, 1.0, "row norms"),
    Intervention("concentrated", concentrate_rows, 0.5, "row norms"),
    Intervention("concentrated", concentrate_rows, 1.0, "row norms"),
)

# Cheap, and neither alone: cross-entropy is the usual loss, DLR does not care how large a new head's logits are.
ATTACKS: tuple[Attack, ...] = (APGD(steps=20), APGD(steps=20, loss="dlr"))


@dataclass(frozen=True, eq=False)
class Probed:
    """A row of the probe with the outcomes behind it: samples classified correctly, (n,) bool each, and the model."""

    probe: Probe
    model: nn.Module
    right: Tensor
    survived: dict[str, Tensor]


def probe_problem(model: nn.Module, x: Tensor) -> str:
    """Why `causal_probe` cannot be run on `model` with pixels x (b, *shape); "" where it can."""
    try:
        _hidden(model, x)
    except ModelError as error:
        return str(error)
    return ""


def causal_probe(
    model: nn.Module,
    train: Split,
    x: Tensor,
    y: Tensor,
    threats: Sequence[Ball],
    *,
    interventions: Sequence[Intervention] = SPECTRUM,
    attacks: Sequence[Attack] = ATTACKS,
    penalty: float = 1e-4,
    tuning: Tuning | None = None,
    batch_size: int = 500,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Probe, ...]:
    """Clean and robust accuracy of `model` after each intervention on its hidden layers.

    For every row: the weights of all hidden layers (all but the linear head) are changed at fixed Frobenius norms,
    running statistics of batch norm are measured again, the head is fitted again on `train` (`refit_head`), optionally
    the net is fine-tuned, and the attacks are run. The row "as it is" has its head fitted too, so rows differ in the
    hidden weights alone.

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, classes); left as it is.
        train: samples for the head and the running statistics; never those that are scored.
        x: test pixels (n, *shape).
        y: labels (n,), int64.
        threats: balls to attack in; one robust accuracy each, under the key "linf@0.1".
        interventions: `SPECTRUM`, `ROWS`, or others.
        attacks: run in order on what still stands; the accuracies are upper bounds of robust accuracy.
        penalty: of the head's fit.
        tuning: fine-tuning, None for none.
        batch_size: the most samples the model sees at once.
        seed: of the attacks.
        progress: told after each row.

    Raises:
        UsageError: no threats or interventions, or numbers out of range.
        DataError: samples that cannot be used.
        ModelError: no linear head, or no layers before it (`probe_problem` tells in advance).
    """
    rows = probe_rows(
        model,
        train,
        x,
        y,
        threats,
        interventions=interventions,
        attacks=attacks,
        penalty=penalty,
        tuning=tuning,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    return tuple(row.probe for row in rows)


def probe_rows(
    model: nn.Module,
    train: Split,
    x: Tensor,
    y: Tensor,
    threats: Sequence[Ball],
    *,
    interventions: Sequence[Intervention],
    attacks: Sequence[Attack],
    penalty: float,
    tuning: Tuning | None,
    batch_size: int,
    seed: int,
    progress: Progress | None = None,
) -> tuple[Probed, ...]:
    """As `causal_probe`, with the changed models and each sample's outcomes: rows can then be compared in pairs."""
    if not threats or not interventions:
        raise UsageError(
            f"the probe needs threats and interventions, got {len(threats)} and {len(interventions)}: give one of each"
        )
    prepare(x, y, None, batch_size)
    hidden = _hidden(model, train.x[:2])
    rows = []
    for done, intervention in enumerate(interventions, 1):
        changed = intervention.apply(model, intervention.strength, hidden)
        layers = dict(changed.named_modules())
        rank = sum(stable_rank(singular_values(layer_matrix(layers[name]))) for name in hidden) / len(hidden)
        measure_norms(changed, train.x, batch_size=batch_size)
        changed = refit_head(changed, train.x, train.y, penalty=penalty, batch_size=batch_size)
        if tuning is not None:
            fit(changed, train, tuning.validation, tuning.budget, seed=tuning.seed)
        right, survived = _score(changed, x, y, threats, attacks, batch_size, seed)
        rows.append(Probed(_row(intervention, rank, right, survived), changed, right, survived))
        if progress is not None:
            progress("causal probe", done, len(interventions))
    return tuple(rows)


def threat_key(threat: Ball) -> str:
    """ "linf@0.1": the key of a threat in `Probe.robust`."""
    return f"{threat.norm}@{threat.epsilon:g}"


def _hidden(model: nn.Module, x: Tensor) -> tuple[str, ...]:
    """Weight layers before the head; a low-rank head is left out as a whole."""
    head = head_name(model, x)
    hidden = tuple(name for name in weight_layers(model) if not f"{head}.".startswith(f"{name}."))
    if not hidden:
        raise ModelError("the model has no linear or convolutional layers before its head: nothing to probe")
    return hidden


def _score(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threats: Sequence[Ball],
    attacks: Sequence[Attack],
    batch_size: int,
    seed: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    right, _ = clean_right(model, x, y, batch_size)
    survived = {
        threat_key(threat): attack_survivors(model, x, y, threat, attacks, batch_size=batch_size, seed=seed).survived
        for threat in threats
    }
    return right, survived


def _row(intervention: Intervention, rank: float, right: Tensor, survived: dict[str, Tensor]) -> Probe:
    n = len(right)
    counts = {key: int(stands.sum()) for key, stands in survived.items()}
    return Probe(
        change=intervention.change,
        strength=intervention.strength,
        stable_rank=rank,
        n=n,
        clean=int(right.sum()) / n,
        clean_interval95=wilson(int(right.sum()), n),
        robust={key: count / n for key, count in counts.items()},
        robust_interval95={key: wilson(count, n) for key, count in counts.items()},
        of=intervention.of,
    )
