"""The Python front door: four questions, each one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from torch import nn

from brittle.auditing.black_box import fair_verdict
from brittle.auditing.crossing import crossed
from brittle.auditing.options import AuditOptions
from brittle.auditing.prepare import check_model, check_runs
from brittle.auditing.progress import prefixed
from brittle.auditing.run import Subject, audit_one, structure_rows
from brittle.bounds.ladder import lipschitz_constants
from brittle.compare import check_base, compare
from brittle.data.dataset import Dataset
from brittle.data.load import Data, as_dataset
from brittle.errors import DataError, UsageError
from brittle.evaluation.progress import Progress
from brittle.files import make_folder
from brittle.models.fit import check_finite
from brittle.models.recipe import recipe_of
from brittle.operators.network import Network, read_network
from brittle.results.audit import Audit
from brittle.results.bounds import Rung
from brittle.results.layer import LayerStructure
from brittle.results.robustness import threat_key
from brittle.results.study import StudyResult

if TYPE_CHECKING:
    from brittle.studies.study import Study


def audit(
    model: nn.Module,
    data: Data,
    *,
    against: nn.Module | Audit | None = None,
    norm: str = "both",
    epsilon: Mapping[str, float | Sequence[float]] | None = None,
    samples: int | None = 1000,
    effort: str = "standard",
    directions: int = 8,
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
        directions: how many sensitive directions are found for each map, 0 for none.
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
    options = AuditOptions(
        norms=("linf", "l2") if norm == "both" else (norm,),
        epsilon=_radii(epsilon),
        samples=samples,
        effort=effort,
        directions=directions,
        batch_size=batch_size,
        seed=seed,
        device=device,
        max_drop=max_drop,
    )
    dataset = as_dataset(data)
    subject = Subject(_module(model, "model"), name)
    base = against if isinstance(against, Audit) or against is None else Subject(_module(against, "against"), "base")
    _check_all_first(subject, base, dataset, options)
    if base is None:
        return audit_one(subject, dataset, options, progress=progress)
    before = (
        base if isinstance(base, Audit) else audit_one(base, dataset, options, progress=prefixed(progress, "base: "))
    )
    parent = base if isinstance(base, Subject) else None  # what a model without gradients is attacked from
    own = audit_one(subject, dataset, options, surrogate=parent, progress=progress)
    mine = fair_verdict(compare(before, own, max_drop), before)
    return crossed(mine, base, subject, dataset, options, progress=progress) if isinstance(base, Subject) else mine


def structure(model: nn.Module, input_shape: tuple[int, ...] | None = None, *, k: float = 0.1) -> list[LayerStructure]:
    """The layer table of a model, no data needed: compressibility, ranks and norms of every weight layer.

    Args:
        model: any module; a zoo model knows its input shape.
        input_shape: shape of one input; without it norms are of the weight matrices (`on_input` False).
        k: fraction of rows or singular values for residual and spread.

    Raises:
        ModelError: a model without parameters, with weights that are not finite, or that does not take such inputs.
        UsageError: k outside (0, 1].
    """
    AuditOptions(k_fraction=k)
    return list(structure_rows(_read(model, _input_shape(model, input_shape)), k))


def lipschitz(model: nn.Module, norm: str = "l2", input_shape: tuple[int, ...] | None = None) -> list[Rung]:
    """The ladder of bounds on the Lipschitz constant from pixels to logits, each with value, status and seconds.

    Raises:
        UsageError: an unknown norm, or an input shape that is not known.
        ModelError: a model without parameters, with weights that are not finite, or that does not take such inputs.
    """
    options = AuditOptions(norms=(norm,))
    shape = _input_shape(model, input_shape)
    if shape is None:
        raise UsageError("the input shape is not known: pass input_shape=(channels, height, width)")
    network = _read(model, shape)
    rows = structure_rows(network, options.k_fraction)
    return list(lipschitz_constants(network, rows, (norm,), {})[norm].ladder.ladder)


def study(
    asked: Study | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    retry: bool = False,
    time_limit: float | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Run a study of your own, or what of it has no answer yet, and judge what is there.

    Args:
        asked: a study, its plain values, or a YAML file.
        out: folder of `trials.sqlite`; the same call goes on where it was stopped.
        workers: processes. With more than one the caller's script needs `if __name__ == "__main__":`.
        ray: address of a Ray cluster, or "local".
        retry: also run the trials that failed before, once.
        time_limit: seconds after which no trial is started.
        progress: told (stage, done, total).

    Raises:
        BrittleError: a study that is wrong, in one line, before anything runs; or trials that all failed.
    """
    # audits need not wait for what only studies need
    from brittle.studies.answer import answer_study, rows_of
    from brittle.studies.checked import study_from
    from brittle.studies.engine import run_trials
    from brittle.studies.grid import expand
    from brittle.studies.run_trial import run_group, run_trial
    from brittle.studies.store import Store
    from brittle.studies.study import Study
    from brittle.studies.yaml_file import read_study

    if isinstance(asked, (str, Path)):
        asked = read_study(asked)
    whole = asked if isinstance(asked, Study) else study_from(dict(asked))
    trials = expand(whole)
    deadline = None if time_limit is None else monotonic() + time_limit
    folder = make_folder(out).resolve()
    with Store(folder / "trials.sqlite") as store:
        run_trials(
            trials,
            store,
            run_trial,
            group_function=run_group,
            workers=workers,
            ray=ray,
            memory=folder / "shared",
            retry=retry,
            deadline=deadline,
            progress=progress,
        )
        rows, failures = rows_of(store, trials), store.failures(trials)
    if failures and not rows:
        raise DataError(f"all trials failed, the first with {failures[0].traceback.strip().splitlines()[-1]}")
    return answer_study(whole, rows, failed={failure.key for failure in failures})


def _radii(epsilon: object) -> dict[str, tuple[float, ...]] | None:
    """Radii by norm, each a tuple."""
    if epsilon is None:
        return None
    try:
        if not isinstance(epsilon, Mapping):
            raise TypeError
        return {
            norm: (float(radii),) if isinstance(radii, Real) else tuple(float(radius) for radius in radii)
            for norm, radii in epsilon.items()
        }
    except (TypeError, ValueError):
        raise UsageError(
            "epsilon must map norms to radii in pixel units, such as {'linf': 8/255, 'l2': [0.25, 0.5]}, "
            f"got {epsilon!r}"
        ) from None


def _module(model: object, argument: str) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"{argument} must be an nn.Module that takes pixels and returns logits, got a {type(model).__name__}: load "
            "a file with brittle.load"
        )
    return model


def _check_all_first(subject: Subject, base: Subject | Audit | None, data: Dataset, options: AuditOptions) -> None:
    """Everything that can be refused without an attack, so that nobody waits for the base and is refused then."""
    threats = options.threats(data.input_shape)
    split = data.split("test").take(options.samples, options.seed)
    if isinstance(base, Audit):
        keys = [threat_key(threat.norm, threat.epsilon) for threat in threats]
        check_base(base, split.sha256(), f"{data.name}, {len(split)}", keys, options.effort)
    for one in (subject, base):
        if isinstance(one, Subject):
            check_model(one.model, split.x, split.y, options.device, black_box=True)


def _input_shape(model: nn.Module, given: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The shape that was given, else the one that a zoo model's recipe knows."""
    recipe = recipe_of(_module(model, "model"))
    return recipe.input_shape if given is None and recipe is not None else given


def _read(model: nn.Module, shape: tuple[int, ...] | None) -> Network:
    for name, weight in model.named_parameters():
        check_finite(name, weight)
    if shape is not None:
        check_runs(model, shape)
    return read_network(model, shape)
