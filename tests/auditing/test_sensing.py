"""The stages after the brackets: all there at standard effort, none at quick, resumable, and polite about failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import torch
from torch import nn

from brittle.auditing import sensing
from brittle.auditing.crossing import crossed
from brittle.auditing.depth import DEPTHS
from brittle.auditing.parts import parts
from brittle.auditing.run import Subject, audit_one
from brittle.auditing.scene import Scene
from brittle.auditing.sensing import sense
from brittle.compare import compare
from brittle.errors import ModelError
from brittle.evaluation.checkpoint import Memory
from brittle.results.audit import Audit
from brittle.threats import ball
from tests.auditing.made import CLASSES, OPTIONS, dataset, linear_net, relu_net

STANDARD = replace(OPTIONS, effort="standard", epsilon={"linf": (0.1, 0.2)}, directions=3)
SHALLOW = replace(DEPTHS["thorough"], fit=10, score=12, universal=12, radius_samples=8, probe=20, steps=5)


def audited(model: nn.Module, **more: Any) -> Audit:
    return audit_one(Subject(model, "net"), dataset(), STANDARD, **more)


def scene(model: nn.Module, **changes: Any) -> Scene:
    data = dataset()
    split = data.split("test")
    settings: dict[str, Any] = {
        "model": model.double(),
        "x": split.x.double(),
        "y": split.y,
        "parts": parts(data, split, fit=20, score=20, seed=0),
        "threats": (ball("linf", 0.1), ball("linf", 0.2), ball("l2", 0.3)),
        "depth": SHALLOW,
        "directions": 2,
        "classes": CLASSES,
        "batch_size": 16,
        "seed": 0,
        "memory": None,
        "progress": None,
        "deadline": None,
    }
    return Scene(**settings | changes)


def test_standard_measures_every_stage_on_samples_that_nothing_was_fitted_on() -> None:
    audit = audited(relu_net())
    assert set(audit.directions) == {"representation", "margin"}
    assert all(len(s.directions) == 3 and s.fitted == 20 == s.scored for s in audit.directions.values())
    assert {(e.map, e.epsilon) for e in audit.explained} == {("representation", 0.2), ("margin", 0.2)}
    assert [a.layer for a in audit.amplification] == ["fc1", "head"]
    assert len(audit.landscapes) == len(audit.universal) == len(audit.radii) == 1
    assert audit.universal[0].held_out
    assert audit.universal[0].png is not None
    assert audit.universal[0].n + audit.universal[0].fitted == 40
    assert not audit.probes
    assert not audit.partial


def test_quick_measures_none_of_it_and_no_directions_can_be_asked_for() -> None:
    quick = audit_one(Subject(relu_net(), "net"), dataset(), replace(STANDARD, effort="quick"))
    assert not any((quick.directions, quick.explained, quick.universal, quick.radii, quick.amplification))
    none = audit_one(Subject(relu_net(), "net"), dataset(), replace(STANDARD, directions=0))
    assert not any((none.directions, none.explained))
    assert none.universal


def test_the_deepest_scene_fills_every_field() -> None:
    work = scene(relu_net())
    survived = {threat: torch.ones(40, dtype=torch.bool) for threat in work.threats}
    found = sense(work, survived)
    assert {e.box for e in found.explained} == {True, False}
    assert {r.norm for r in found.radii} == {"linf", "l2"} == {u.norm for u in found.universal}
    assert len(found.probes) == 5
    assert {w.knowledge for w in found.weight_free} == {"queries"}
    assert found.masking
    assert work.diary.complete
    assert not work.diary.notes


def test_a_stage_that_the_model_does_not_allow_leaves_a_note_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ModelError("no head: give one")

    monkeypatch.setattr(sensing, "network_directions", refuse)
    audit = audited(relu_net())
    assert not audit.directions
    assert audit.universal
    notes = [check for check in audit.preflight if check.advice == "not measured: no head: give one"]
    assert [check.check for check in notes] == ["directions of the representation", "directions of the margin"]


def test_stages_whose_time_has_not_come_are_left_out_and_the_answer_is_marked() -> None:
    work = scene(relu_net(), deadline=monotonic() - 1)
    found = sense(work, {})
    assert not any((found.directions, found.universal, found.radii, found.probes))
    assert not work.diary.complete


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("stage", ["explain", "fit_universal", "radius_curve", "landscape"])
def test_an_interrupted_audit_goes_on_where_it_was(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = audited(relu_net())
    memory = Memory(tmp_path, "print")

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(sensing, stage, die)
        with pytest.raises(Killed):
            audited(relu_net(), memory=memory)
    done: list[str] = []
    for name in ("network_directions", "explain"):
        real: Callable[..., Any] = getattr(sensing, name)

        def counting(*a: object, real: Callable[..., Any] = real, name: str = name, **k: object) -> object:
            done.append(name)
            return real(*a, **k)

        monkeypatch.setattr(sensing, name, counting)
    resumed = audited(relu_net(), memory=memory)
    assert replace(resumed, settings=whole.settings, bounds=whole.bounds) == replace(whole)
    assert "network_directions" not in done
    assert ("explain" in done) == (stage == "explain")


def test_crossing_fills_both_ways_for_the_largest_radius() -> None:
    base, child = Subject(linear_net(clutter=0.3), "base"), Subject(relu_net(), "child")
    audits = [audit_one(one, dataset(), STANDARD) for one in (base, child)]
    compared = compare(*audits, max_drop=2.0)
    full = crossed(compared, base, child, dataset(), STANDARD)
    assert full.comparison is not None
    rows = full.comparison.transfer
    assert {(r.kind, r.source, r.target) for r in rows} == {
        (kind, s, t) for kind in ("examples", "universal") for s in ("base", "child") for t in ("base", "child")
    }
    assert {r.epsilon for r in rows} == {0.2}
    assert {r.n for r in rows} == {20}
    assert not full.comparison.weight_free
    quick = replace(STANDARD, effort="quick")
    assert crossed(compared, base, child, dataset(), quick) == compared
    assert crossed(audits[1], base, child, dataset(), STANDARD) == audits[1]


def test_nets_of_one_name_are_told_apart() -> None:
    base, child = Subject(linear_net(clutter=0.3), "net"), Subject(relu_net(), "net")
    compared = compare(*(audit_one(one, dataset(), STANDARD) for one in (base, child)), max_drop=2.0)
    full = crossed(compared, base, child, dataset(), STANDARD)
    assert full.comparison is not None
    assert {r.source for r in full.comparison.transfer} == {"net", "net (base)"}
