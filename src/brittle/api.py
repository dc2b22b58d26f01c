"""The Python front door: three questions, each one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from brittle.auditing.options import AuditOptions
from brittle.auditing.run import Subject, audit_one, structure_rows
from brittle.bounds.ladder import lipschitz_constants
from brittle.compare import compare
from brittle.data.load import Data, as_dataset
from brittle.errors import UsageError
from brittle.evaluation.batches import Progress
from brittle.models.recipe import recipe_of
from brittle.operators.network import read_network
from brittle.results.audit import Audit
from brittle.results.bounds import Rung
from brittle.results.layer import LayerStructure


def audit(
    model: nn.Module,
    data: Data,
    *,
    against: nn.Module | Audit | None = None,
    norm: str = "both",
    epsilon: Mapping[str, float | Sequence[float]] | None = None,
    samples: int | None = 1000,
    effort: str = "standard",
    batch_size: int = 256,
    seed: int = 0,
    device: str = "cpu",
    max_drop: float = 2.0,
    name: str = "model",
    progress: Progress | None = None,
) -> Audit:
    """Everything `brittle` measures about a model, and with `against` whether it is more brittle than that base.

    Args:
        model: takes pixels (b, *shape) in [0, 1], returns logits (b, classes); it comes back as it was.
        data: a DATA string, a pair of tensors (x, y), a DataLoader or a Dataset; the test split is used.
        against: the base model, or its audit (made with the same data, samples, seed and radii).
        norm: "linf", "l2" or "both".
        epsilon: radii by norm in pixel units, such as `{"linf": 8/255, "l2": [0.25, 0.5]}`.
        samples: test samples drawn, None for all.
        effort: "quick", "standard" or "thorough".
        batch_size: the most inputs the model sees at once.
        seed: of every random choice.
        device: where the model runs.
        max_drop: tolerance of the verdict, percentage points of robust accuracy.
        name: the model's name in reports.
        progress: told (stage, done, total).

    Raises:
        BrittleError: bad input, with the remedy, before any attack starts.
    """
    if norm not in ("linf", "l2", "both"):
        raise UsageError(f"unknown norm {norm!r}: expected linf, l2 or both")
    radii = None if epsilon is None else {k: (v,) if isinstance(v, int | float) else tuple(v) for k, v in epsilon.items()}
    options = AuditOptions(
        norms=("linf", "l2") if norm == "both" else (norm,),
        epsilon=radii,
        samples=samples,
        effort=effort,
        batch_size=batch_size,
        seed=seed,
        device=device,
        max_drop=max_drop,
    )
    dataset = as_dataset(data)
    base = against
    if isinstance(against, nn.Module):
        base = audit_one(Subject(against, "base"), dataset, options, progress=progress)
    mine = audit_one(Subject(model, name), dataset, options, progress=progress)
    return compare(base, mine, max_drop) if isinstance(base, Audit) else mine


def structure(model: nn.Module, input_shape: tuple[int, ...] | None = None, *, k: float = 0.1) -> list[LayerStructure]:
    """The layer table of a model, no data needed: compressibility, ranks and norms of every weight layer.

    Args:
        model: any module; a zoo model knows its input shape.
        input_shape: shape of one input; without it norms are of the weight matrices (`on_input` False).
        k: fraction of rows or singular values for residual and spread.

    Raises:
        ModelError: a model without parameters.
        UsageError: k outside (0, 1].
    """
    AuditOptions(k_fraction=k)
    recipe = recipe_of(model)
    shape = recipe.input_shape if input_shape is None and recipe is not None else input_shape
    return list(structure_rows(read_network(model, shape), k))


def lipschitz(model: nn.Module, norm: str = "l2", input_shape: tuple[int, ...] | None = None) -> list[Rung]:
    """The ladder of bounds on the Lipschitz constant from pixels to logits, each with value, status and seconds.

    Raises:
        UsageError: an unknown norm, or an input shape that is not known.
        ModelError: a model without parameters.
    """
    options = replace(AuditOptions(), norms=(norm,))
    recipe = recipe_of(model)
    shape = recipe.input_shape if input_shape is None and recipe is not None else input_shape
    if shape is None:
        raise UsageError("the input shape is not known: pass input_shape=(channels, height, width)")
    network = read_network(model, shape)
    return list(lipschitz_constants(network, structure_rows(network, options.k_fraction), (norm,), {})[norm].ladder.ladder)
