"""`brittle attack`: the attacks a user names, on one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic, perf_counter

import torch
from torch import Tensor

import brittle
from brittle.attacks.protocol import Attack
from brittle.attacks.table import MINIMAL_ATTACKS
from brittle.auditing.attack_options import AttackOptions
from brittle.auditing.depth import DEPTHS
from brittle.auditing.parts import Parts, parts
from brittle.auditing.preflight import preflight
from brittle.auditing.prepare import check_model, choose_dtype, twin
from brittle.auditing.progress import prefixed
from brittle.auditing.run import Subject, model_info
from brittle.auditing.scene import Scene
from brittle.auditing.sensing import directions_of, explained_by, radius_row, universal_row
from brittle.data.dataset import Dataset
from brittle.data.split import Split
from brittle.evaluation.accuracy import attack_survivors, noise_right
from brittle.evaluation.checkpoint import Memory
from brittle.evaluation.intervals import wilson
from brittle.evaluation.progress import Progress
from brittle.operators.network import read_network
from brittle.results.attack import ATTACK_SCHEMA, AttackResult, Attempt
from brittle.results.audit import Check, DataInfo, Settings
from brittle.results.directions import DirectionSet, Explained
from brittle.results.perturbations import RadiusCurve, Transfer, Universal
from brittle.results.robustness import Outcomes, bits, threat_key
from brittle.sensitivity.transfer import Examples, Maker, UniversalFit, transfer_matrix
from brittle.threats import Ball

# Samples that the preflight looks at.
_CHECKED = 200


@dataclass(frozen=True, eq=False)
class Attacking:
    """The record, and the attacked samples for each threat by its key: pixels (n, *shape), float32."""

    result: AttackResult
    x_adv: dict[str, Tensor]


@dataclass
class _Found:
    """What the attacks found so far."""

    attempts: list[Attempt] = field(default_factory=list)
    radii: list[RadiusCurve] = field(default_factory=list)
    universal: list[Universal] = field(default_factory=list)
    directions: dict[str, DirectionSet] = field(default_factory=dict)
    explained: list[Explained] = field(default_factory=list)
    transfer: tuple[Transfer, ...] = ()
    right: dict[str, str] = field(default_factory=dict)
    x_adv: dict[str, Tensor] = field(default_factory=dict)


def attack_one(
    subject: Subject,
    data: Dataset,
    options: AttackOptions,
    *,
    surrogate: Subject | None = None,
    memory: Memory | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Attacking:
    """Attack one model on the data's test split; with a surrogate, perturbations made on it as well.

    Raises:
        DataError, ModelError, UsageError: bad input, before any attack starts.
    """
    started = perf_counter()
    split = data.split("test").take(options.samples, options.seed)
    for one in (subject, surrogate):
        if one is not None:
            check_model(one.model, split.x, split.y, options.device)
    scene, checks = _scene(subject, data, split, options, memory, progress)
    found = _Found()
    for threat in scene.threats:
        if options.chain:
            _attempt(scene, threat, options.chain, found)
        if "universal" in options.attacks:
            row = universal_row(scene, threat, options.target)
            found.universal += [] if row is None else [row]
        if "directional" in options.attacks:
            _directional(scene, threat, found)
    minimal = [MINIMAL_ATTACKS[name] for name in options.attacks if name in MINIMAL_ATTACKS]
    if minimal:
        curve = radius_row(scene, options.norm, minimal)
        found.radii += [] if curve is None else [curve]
    if surrogate is not None:
        found.transfer = _transfer(scene, subject.name, surrogate, options)
    settings = Settings(
        command,
        "attack",
        options.batch_size,
        str(scene.x.dtype).removeprefix("torch."),
        options.device,
        torch.__version__,
        perf_counter() - started,
    )
    result = AttackResult(
        schema=ATTACK_SCHEMA,
        brittle=brittle.__version__,
        seed=options.seed,
        model=model_info(subject),
        data=DataInfo(data.name, "test", len(split), split.sha256(), data.classes),
        preflight=(*checks, *scene.diary.notes),
        attacks=options.attacks,
        attempts=tuple(found.attempts),
        radii=tuple(found.radii),
        universal=tuple(found.universal),
        directions=found.directions,
        explained=tuple(found.explained),
        transfer=found.transfer,
        outcomes=Outcomes(found.right, tuple(int(label) for label in split.y)),
        settings=settings,
        partial=not scene.diary.complete,
    )
    return Attacking(result, found.x_adv)


def _scene(
    subject: Subject,
    data: Dataset,
    split: Split,
    options: AttackOptions,
    memory: Memory | None,
    progress: Progress | None,
) -> tuple[Scene, tuple[Check, ...]]:
    network = read_network(subject.model, data.input_shape)
    copied = twin(subject.model, split.x, split.y, choose_dtype(network, None), options.device)
    threats, x = options.threats(data.input_shape), split.x.to(copied.dtype)
    head = slice(0, _CHECKED)
    found = preflight(
        copied.model,
        x[head],
        split.y[head],
        threats[0],
        in_train_mode=any(module.training for module in subject.model.modules()),
        batch_size=options.batch_size,
        seed=options.seed,
    )
    scene = Scene(
        model=copied.model,
        x=x,
        y=split.y,
        parts=_parts(data, split, options),
        threats=threats,
        depth=replace(DEPTHS["thorough"], score=len(x), radius_samples=len(x), universal=options.fit),
        directions=options.directions,
        classes=data.classes,
        batch_size=options.batch_size,
        seed=options.seed,
        memory=memory,
        progress=progress,
        deadline=None if options.time_limit is None else monotonic() + options.time_limit,
    )
    return scene, (*(Check("loading", "warning", note) for note in subject.notes), *copied.checks, *found)


def _parts(data: Dataset, split: Split, options: AttackOptions) -> Parts:
    """Attacks that fit nothing are scored on every sample, whatever splits the data have."""
    if options.fits:
        return parts(data, split, fit=options.fit, score=len(split), seed=options.seed)
    return Parts(split, torch.arange(len(split)), "none")


def _attempt(scene: Scene, threat: Ball, chain: Sequence[Attack], found: _Found) -> None:
    x, y, size, seed = scene.x, scene.y, scene.batch_size, scene.seed
    key = threat_key(threat.norm, threat.epsilon)
    noise = noise_right(scene.model, x, y, threat, batch_size=size, seed=seed)[0]
    done = attack_survivors(
        scene.model,
        x,
        y,
        threat,
        chain,
        batch_size=size,
        seed=seed,
        progress=prefixed(scene.progress, f"{key} "),
        deadline=scene.deadline,
        memory=scene.memory,
    )
    scene.diary.complete &= done.complete
    n, survivors = len(x), int(done.survived.sum())
    found.attempts.append(
        Attempt(
            norm=threat.norm,
            epsilon=threat.epsilon,
            n=n,
            clean=float(done.right.double().mean()),
            attacked=survivors / n,
            interval95=wilson(survivors, n),
            noise=float(noise.double().mean()),
            steps=done.steps,
        )
    )
    found.right |= {"clean": bits(done.right), key: bits(done.survived), f"noise:{key}": bits(noise)}
    found.x_adv[key] = done.x_adv.to(torch.float32)


def _directional(scene: Scene, threat: Ball, found: _Found) -> None:
    for name in scene.depth.maps:
        pair = scene.stage(f"directions of the {name}", lambda n=name: directions_of(scene, n))  # type: ignore[misc]
        if pair is not None:
            found.directions[name] = pair[0]
            found.explained += explained_by(scene, name, pair[1], threat)


def _transfer(scene: Scene, name: str, surrogate: Subject, options: AttackOptions) -> tuple[Transfer, ...]:
    """Everything made on the surrogate, scored on the model, beside what is made on the model itself."""
    other = twin(surrogate.model, scene.x[:1], scene.y[:1], scene.x.dtype, options.device)
    fit = scene.fit(options.fit)
    makers: list[Maker] = [Examples()]
    if options.fits:
        makers.append(UniversalFit(fit.x, fit.y, scene.depth.ascent))
    rows: list[Transfer] = []
    for threat in scene.threats:
        made = scene.stage(
            f"transfer, {threat.norm}",
            lambda t=threat: transfer_matrix(  # type: ignore[misc]
                {name: scene.model, surrogate.name: other.model},
                scene.x,
                scene.y,
                t,
                makers,
                batch_size=scene.batch_size,
                seed=scene.seed,
                progress=scene.progress,
            ),
        )
        rows += made or ()
    return tuple(row for row in rows if row.target == name)
