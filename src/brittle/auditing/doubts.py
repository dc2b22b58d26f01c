"""The stages that doubt the others: masked gradients, adversaries with queries alone, and the causal probe."""

from __future__ import annotations

from torch import Tensor

from brittle.auditing.scene import Scene
from brittle.evaluation.masking_signs import masking_signs
from brittle.results.audit import Check
from brittle.results.directions import Probe
from brittle.results.perturbations import WeightFree
from brittle.sensitivity.probe import causal_probe, probe_problem
from brittle.sensitivity.weight_free import weight_free
from brittle.threats import Ball


def masking_rows(scene: Scene, threat: Ball, survived: Tensor) -> tuple[Check, ...]:
    """Signs that survivors, (n,) bool over the audited samples, owe their survival to the attacks."""
    x, y, rows = scene.scored(scene.depth.score)
    stands = survived.cpu()[rows]

    def work() -> tuple[Check, ...]:
        size, seed = scene.batch_size, scene.seed
        return masking_signs(scene.model, x, y, threat, survivors=stands, batch_size=size, seed=seed)

    found: tuple[Check, ...] | None = scene.record(
        f"signs of masked gradients, {threat.norm}", tuple[Check, ...], work, threat, stands.tolist()
    )
    return found or ()


def query_rows(scene: Scene, threat: Ball) -> tuple[WeightFree, ...]:
    """What an adversary reaches who sees the logits alone."""
    stage = f"adversaries with queries alone, {threat.norm}"
    fit, (x, y, _) = scene.fit(scene.depth.fit), scene.scored(scene.depth.score)

    def work() -> tuple[WeightFree, ...]:
        return weight_free(
            scene.model,
            fit.x,
            fit.y,
            x,
            y,
            threat,
            surrogates={},
            batch_size=scene.batch_size,
            seed=scene.seed,
            progress=scene.told(stage),
        )

    found: tuple[WeightFree, ...] | None = scene.record(stage, tuple[WeightFree, ...], work, threat)
    return found or ()


def probe_rows(scene: Scene) -> tuple[Probe, ...]:
    """Robustness after the hidden spectra are flattened or concentrated; none, with a note, where there is no head."""
    stage = "causal probe"
    train, (x, y, _) = scene.fit(scene.depth.probe), scene.scored(scene.depth.score)
    why = probe_problem(scene.model, x[:1])
    if why:
        scene.diary.notes.append(Check(stage, "warning", f"not measured: {why}"))
        return ()

    def work() -> tuple[Probe, ...]:
        size, seed = scene.batch_size, scene.seed
        return causal_probe(
            scene.model, train, x, y, scene.largest, batch_size=size, seed=seed, progress=scene.progress
        )

    found: tuple[Probe, ...] | None = scene.record(stage, tuple[Probe, ...], work)
    return found or ()
