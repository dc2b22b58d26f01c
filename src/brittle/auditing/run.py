"""One model through the whole audit, in the order of the design: layers, bounds, brackets."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from time import monotonic, perf_counter

import torch
from torch import nn

import brittle
from brittle.attacks.table import effort_named
from brittle.auditing.black_box import black_box_attacks, black_box_preflight, read_black_box
from brittle.auditing.depth import DEPTHS
from brittle.auditing.forecast import forecast_seconds
from brittle.auditing.options import AuditOptions
from brittle.auditing.parts import parts
from brittle.auditing.preflight import preflight
from brittle.auditing.prepare import check_model, choose_dtype, twin
from brittle.auditing.robustness import measure
from brittle.auditing.scene import Diary, Scene
from brittle.auditing.sensing import Sensed, sense
from brittle.bounds.jacobian import largest_jacobian_norms
from brittle.bounds.ladder import lipschitz_constants
from brittle.bounds.tight import TIGHTNESS
from brittle.compressibility.layer import layer_structure
from brittle.data.dataset import Dataset
from brittle.evaluation.batches import Progress
from brittle.evaluation.checkpoint import Memory
from brittle.models.recipe import recipe_of
from brittle.operators.network import Network, read_network
from brittle.results.audit import SCHEMA, Audit, Check, DataInfo, ModelInfo, Settings
from brittle.results.layer import LayerStructure

# Samples that preflight and the Jacobian rung look at, and the most classes for which Jacobians are formed.
_CHECKED = 200
_JACOBIAN_CLASSES = 100


@dataclass(frozen=True)
class Subject:
    """A model to audit, with the name people know it by and notes from loading it."""

    model: nn.Module
    name: str
    notes: tuple[str, ...] = ()


def audit_one(
    subject: Subject,
    data: Dataset,
    options: AuditOptions,
    *,
    surrogate: Subject | None = None,
    command: str = "",
    memory: Memory | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit one model on the data's test split; with a memory, an interrupted audit goes on where it was.

    A model without gradients is attacked with examples made on the surrogate, such as its parent, and with Square.

    Raises:
        DataError, ModelError, UsageError: bad input, before any attack starts.
        SoundnessError: a certificate was contradicted (a bug of ours).
    """
    started = perf_counter()
    deadline = None if options.time_limit is None else monotonic() + options.time_limit
    threats = options.threats(data.input_shape)
    split = data.split("test").take(options.samples, options.seed)
    gradients = check_model(subject.model, split.x, split.y, options.device, black_box=True)
    network = (read_network if gradients else read_black_box)(subject.model, data.input_shape)
    dtype = choose_dtype(network, options.dtype)
    copied = twin(subject.model, split.x, split.y, dtype, options.device, black_box=not gradients)
    model, dtype = copied.model, copied.dtype
    x, y = split.x.to(dtype), split.y
    attacks = effort_named(options.effort)
    if not gradients:
        other = None if surrogate is None else surrogate.model
        attacks = black_box_attacks(options.effort, other, x, y, dtype=dtype, device=options.device)

    head = slice(0, min(_CHECKED, len(x)))
    checks = [*(Check("loading", "warning", note) for note in subject.notes), *copied.checks]
    size, seed = options.batch_size, options.seed
    if gradients:
        trained = any(module.training for module in subject.model.modules())
        found = preflight(model, x[head], y[head], threats[0], in_train_mode=trained, batch_size=size, seed=seed)
    else:
        found = black_box_preflight(copied, x[head], y[head], threats[0], attacks, batch_size=size, seed=seed)
    checks += found
    if network.why:
        checks.append(Check("global constants", "warning", f"none for this network: {network.why}"))
    if progress is not None and gradients:
        more = DEPTHS[options.effort].gradients(options.directions) if options.effort in DEPTHS else 0.0
        seconds = forecast_seconds(model, x, y, threats, attacks, options.batch_size, more)
        progress(f"forecast: about {seconds:.0f} s of attacks", 0, 0)

    layers = structure_rows(network, options.k_fraction, progress)
    jacobians = {}
    if gradients and len(data.classes) <= _JACOBIAN_CLASSES:
        jacobians = largest_jacobian_norms(model, x[head].to(options.device), options.batch_size)
    constants = lipschitz_constants(network, layers, options.norms, jacobians, TIGHTNESS[options.effort])
    brackets = measure(
        model,
        x,
        y,
        threats,
        attacks,
        network.graph,
        constants,
        effort=options.effort,
        time_limit=options.time_limit,
        batch_size=options.batch_size,
        seed=options.seed,
        classes=data.classes,
        progress=progress,
        deadline=deadline,
        memory=memory,
        gradients=gradients,
    )
    sensed, diary = Sensed(), Diary()
    if options.effort in DEPTHS and gradients:
        depth = DEPTHS[options.effort]
        scene = Scene(
            model=model,
            x=x,
            y=y,
            parts=parts(data, split, fit=depth.most_fitted, score=len(x), seed=options.seed),
            threats=threats,
            depth=depth,
            directions=options.directions,
            classes=data.classes,
            batch_size=options.batch_size,
            seed=options.seed,
            memory=memory,
            progress=progress,
            deadline=deadline,
            diary=diary,
        )
        sensed = sense(scene, brackets.survived)
    return Audit(
        schema=SCHEMA,
        brittle=brittle.__version__,
        seed=options.seed,
        model=model_info(subject),
        data=DataInfo(data.name, "test", len(split), split.sha256(), data.classes),
        preflight=(*checks, *diary.notes),
        layers=layers,
        unmeasured=network.unmeasured,
        bounds={norm: constants[norm].ladder for norm in options.norms},
        encoder=tuple(bound for norm in options.norms for bound in constants[norm].encoder),
        gaps=brackets.gaps,
        robustness=brackets.robustness,
        universal=tuple(sensed.universal),
        directions=sensed.directions,
        outcomes=brackets.outcomes,
        examples=brackets.examples,
        settings=Settings(
            command,
            options.effort,
            options.batch_size,
            str(dtype).removeprefix("torch."),
            options.device,
            torch.__version__,
            perf_counter() - started,
        ),
        comparison=None,
        verdict=None,
        partial=not (brackets.complete and diary.complete),
        explained=tuple(sensed.explained),
        amplification=tuple(sensed.amplification),
        landscapes=tuple(sensed.landscapes),
        probes=tuple(sensed.probes),
        radii=tuple(sensed.radii),
        weight_free=tuple(sensed.weight_free),
        masking=tuple(sensed.masking),
    )


def model_info(subject: Subject) -> ModelInfo:
    """Name, size and recipe for the record."""
    recipe = recipe_of(subject.model)
    count = sum(p.numel() for p in subject.model.parameters())
    return ModelInfo(subject.name, count, None if recipe is None else recipe.to_dict())


def structure_rows(network: Network, k_fraction: float, progress: Progress | None = None) -> tuple[LayerStructure, ...]:
    """The layer table."""
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, layer in enumerate(network.layers):
            rows.append(
                layer_structure(
                    layer.name, layer.view, k_fraction=k_fraction, on_input=layer.on_input, parameters=layer.parameters
                )
            )
            if progress is not None:
                progress("layers", i + 1, len(network.layers))
    return tuple(rows)
