"""The stages after the brackets: directions, what they explain, universal perturbations, radii, probe, masking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.minimal import MinimalAttack
from brittle.attacks.universal import fit_universal
from brittle.auditing.doubts import masking_rows, probe_rows, query_rows
from brittle.auditing.scene import Scene
from brittle.directions.network import network_directions
from brittle.directions.pictures import direction_png
from brittle.evaluation.batches import batches, device_of
from brittle.evaluation.checkpoint import Saver, State
from brittle.evaluation.fooling import fooling, predictions
from brittle.evaluation.radii import radius_curve
from brittle.results.audit import Check
from brittle.results.directions import Amplification, DirectionSet, Explained, Landscape, Probe
from brittle.results.perturbations import RadiusCurve, Universal, WeightFree
from brittle.results.serialise import from_dict, to_dict
from brittle.sensitivity.amplification import amplification
from brittle.sensitivity.explained import explain
from brittle.sensitivity.landscape import landscape
from brittle.threats import Ball, Box

T = TypeVar("T")


@dataclass
class Sensed:
    """What the stages found; empty where a stage was not asked for or gave nothing."""

    directions: dict[str, DirectionSet] = field(default_factory=dict)
    explained: list[Explained] = field(default_factory=list)
    amplification: list[Amplification] = field(default_factory=list)
    landscapes: list[Landscape] = field(default_factory=list)
    universal: list[Universal] = field(default_factory=list)
    radii: list[RadiusCurve] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    weight_free: list[WeightFree] = field(default_factory=list)
    masking: list[Check] = field(default_factory=list)


def sense(scene: Scene, survived: Mapping[Ball, Tensor]) -> Sensed:
    """Run all stages of the scene's depth; `survived`, (n,) bool for each threat, comes from the brackets.

    What a model does not allow (no linear head, for instance) and what there was no time for stands in the diary.
    """
    found = Sensed()
    basis: dict[str, Tensor] = {}
    for name in scene.depth.maps if scene.directions else ():
        pair = scene.stage(f"directions of the {name}", partial(directions_of, scene, name))
        if pair is not None:
            found.directions[name], basis[name] = pair
    for threat in scene.largest:
        for name, vectors in basis.items():
            found.explained += explained_by(scene, name, vectors, threat)
        _moved(scene, found, threat)
        found.universal += _one(universal_row(scene, threat))
        found.radii += _one(radius_row(scene, threat.norm, scene.depth.radius_attacks))
        if scene.depth.queries and threat in survived:
            found.masking += masking_rows(scene, threat, survived[threat])
            found.weight_free += query_rows(scene, threat)
    if scene.depth.probe:
        found.probes += probe_rows(scene)
    return found


def directions_of(scene: Scene, name: str) -> tuple[DirectionSet, Tensor]:
    """The directions of one map, record and vectors, or those that an interrupted audit had found."""
    stage = f"directions of the {name}"
    saver = Saver(scene.memory, scene.key(stage))
    state = saver.load()
    if state is not None:
        return from_dict(DirectionSet, dict(state.values)), state.tensors["V"].to(scene.x)
    fit, (x, y, _) = scene.fit(scene.depth.fit), scene.scored(scene.depth.fit)
    record, vectors = network_directions(
        scene.model,
        fit.x,
        fit.y,
        x,
        y,
        map=name,
        k=min(scene.directions, x[0].numel()),
        batch_size=min(scene.batch_size, scene.depth.fit),
        seed=scene.seed,
        progress=scene.told(stage),
    )
    saver.keep(State({"V": vectors}, to_dict(record)))
    return record, vectors


def explained_by(scene: Scene, name: str, vectors: Tensor, threat: Ball) -> list[Explained]:
    """Attacks confined to the directions of one map, for every box of the depth."""
    x, y, rows = scene.scored(scene.depth.score)
    stage = f"attacks along the {name}'s directions, {threat.norm}"
    found = []
    for box in scene.depth.boxes:

        def work(box: Box = box) -> Explained:
            return explain(
                scene.model,
                x,
                y,
                vectors,
                threat,
                name_of_map=name,
                box=box,
                steps=scene.depth.steps,
                seed=scene.seed,
                batch_size=scene.batch_size,
                indices=rows,
                progress=scene.told(stage),
            )

        found += _one(scene.record(stage, Explained, work, threat, box))
    return found


def universal_row(scene: Scene, threat: Ball, target: int | None = None) -> Universal | None:
    """One perturbation for all inputs, fitted on the fitting samples and scored on all scoring samples."""
    stage = f"universal perturbation, {threat.norm}"

    def work() -> Universal:
        fit, (x, y, _) = scene.fit(scene.depth.universal), scene.scored(len(scene.x))
        size, seed, method = scene.batch_size, scene.seed, scene.depth.ascent
        delta = fit_universal(
            scene.model,
            fit.x,
            predictions(scene.model, fit.x, fit.y, size),
            threat,
            method=method,
            target=target,
            seed=seed,
            batch_size=size,
            progress=scene.told(stage),
        )
        name = None if target is None else scene.classes[target]
        row = fooling(
            scene.model,
            x,
            y,
            delta,
            threat,
            fitted=len(fit),
            held_out=True,
            seed=seed,
            batch_size=size,
            method=method.name,
            target=name,
        )
        return replace(row, png=direction_png(delta))

    row: Universal | None = scene.record(stage, Universal, work, threat, target)
    return row


def _moved(scene: Scene, found: Sensed, threat: Ball) -> None:
    """Amplification and landscape, both from perturbations of the largest loss found."""
    x, y, rows = scene.scored(scene.depth.score)
    size, seed = scene.batch_size, scene.seed

    def worst() -> Tensor:
        attack, device = WorstCase(APGD(scene.depth.steps)), device_of(scene.model, x)
        parts = batches(torch.arange(len(x)), size)
        return torch.cat(
            [
                attack(scene.model, x[p].to(device), y[p].to(device), threat, indices=rows[p], seed=seed).to(x.device)
                for p in parts
            ]
        )

    x_adv = scene.stage(f"worst case, {threat.norm}", worst)
    if x_adv is None:
        return
    found.amplification += (
        scene.stage(
            f"amplification, {threat.norm}",
            lambda: amplification(scene.model, x, x_adv, y, threat, seed=seed, batch_size=size, indices=rows),
        )
        or ()
    )
    plane = scene.stage(
        f"landscape, {threat.norm}",
        lambda: landscape(scene.model, x, x_adv, y, threat, seed=seed, batch_size=size),
    )
    found.landscapes += _one(plane)


def radius_row(scene: Scene, norm: str, attacks: Sequence[MinimalAttack]) -> RadiusCurve | None:
    """Minimal radii of scoring samples."""
    x, y, rows = scene.scored(scene.depth.radius_samples)
    stage = f"minimal radii, {norm}"
    curve: RadiusCurve | None = scene.record(
        stage,
        RadiusCurve,
        lambda: radius_curve(
            scene.model,
            x,
            y,
            norm,
            attacks,
            batch_size=scene.batch_size,
            seed=scene.seed,
            indices=rows,
            progress=scene.told(stage),
            deadline=scene.deadline,
        ),
        tuple(attacks),
    )
    return curve


def _one(row: T | None) -> list[T]:
    """A list of the row, empty for none."""
    return [] if row is None else [row]
