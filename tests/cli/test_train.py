"""`brittle train` as a user types it: weights, numbers, the page, resuming, tracking, and what reaches the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from brittle.cli import train_session
from brittle.cli.app import run
from brittle.cli.train_plan import OBJECTIVE_OPTIONS, PlanTexts, parse_noise, parse_penalty
from brittle.errors import UsageError
from brittle.models.file import load
from brittle.results.serialise import from_dict, read_json
from brittle.results.training import TrainingHistory
from brittle.training.adversarial import OBJECTIVES, PGDTraining
from brittle.training.plan import Dynamics

NET = ("train", "--model", "zoo:mlp?widths=24", "--out", "net.safetensors", "--learning-rate", "0.01")
NONE = PlanTexts((), False, False, (), None, "linf", (), None, None, None)
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(*arguments: str) -> TrainingHistory:
    assert run([*NET, *arguments, "--json", "t.json"]) == 0
    return from_dict(TrainingHistory, read_json("t.json"))


def weights() -> dict[str, torch.Tensor]:
    return load("net.safetensors").state_dict()


def test_weights_numbers_and_page_are_written_and_nothing_else(place: Path, capsys: Captured) -> None:
    history = trained("--epochs", "3", "--html", "t.html")
    assert {path.name for path in place.iterdir()} == {"net.safetensors", "t.json", "t.html"}
    assert [row.epoch for row in history.rows] == [1, 2, 3]
    assert history.rows[-1].validation_accuracy > 0.5
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"Epoch {history.best_epoch} of 3 has the best validation accuracy" in printed.err
    assert "under attack, ℓ∞ ε = 0.05" in printed.err
    page = Path("t.html").read_text()
    assert "brittle train --model &#39;zoo:mlp?widths=24&#39; --out net.safetensors" in page
    best = history.rows[history.best_epoch - 1].validation_accuracy
    assert f"{100 * best:.1f}%" in page


def test_the_file_holds_the_best_epoch(place: Path) -> None:
    history = trained("--epochs", "3", "--track", "0")
    from brittle.data.load import load_data

    validation = load_data("digits").split("validation")
    with torch.no_grad():
        right = load("net.safetensors")(validation.x).argmax(1) == validation.y
    assert float(right.double().mean()) == max(row.validation_accuracy for row in history.rows)


def test_the_same_seed_gives_the_same_weights_and_another_one_others(place: Path) -> None:
    assert run([*NET, "--epochs", "1", "--track", "0"]) == 0
    first = weights()
    assert run([*NET, "--epochs", "1", "--track", "0"]) == 0
    assert all(torch.equal(first[name], value) for name, value in weights().items())
    assert run([*NET, "--epochs", "1", "--track", "0", "--seed", "1"]) == 0
    assert not all(torch.equal(first[name], value) for name, value in weights().items())


def test_json_on_stdout_is_all_there_is_on_stdout(place: Path, capsys: Captured) -> None:
    assert run([*NET, "--epochs", "1", "--track", "0", "--json", "-"]) == 0
    assert from_dict(TrainingHistory, json.loads(capsys.readouterr().out)).rows[0].epoch == 1


def test_every_option_reaches_the_run(place: Path) -> None:
    history = trained(
        "--epochs", "2", "--batch-size", "50", "--optimiser", "nesterov", "--weight-decay", "0.002",
        "--momentum", "0.8", "--schedule", "constant", "--label-noise", "0.1", "--gradient-noise", "1.9:0.0001",
        "--patience", "2", "--clip", "5", "--seed", "3", "--penalty", "nuclear=0.01", "--penalty", "l1=0.001",
        "--proximal", "--hold-scale", "--layers", "fc*", "--adversarial", "pgd", "--norm", "l2", "--epsilon", "0.2",
        "--steps", "2", "--share", "1", "--track", "0",
    )  # fmt: skip
    s = history.settings
    assert (s.epochs, s.batch_size, s.optimiser, s.learning_rate, s.weight_decay) == (2, 50, "nesterov", 0.01, 0.002)
    assert (s.momentum, s.schedule, s.label_noise, s.patience, s.clip, s.seed) == (0.8, "constant", 0.1, 2, 5.0, 3)
    assert s.gradient_noise is not None
    assert (s.gradient_noise.alpha, s.gradient_noise.scale) == (1.9, 0.0001)
    assert [(p.name, p.strength, p.proximal) for p in s.penalties] == [("nuclear", 0.01, True), ("l1", 0.001, True)]
    assert (s.hold_scale, s.layers) == (True, ("fc1",))
    assert (s.objective, s.device, s.precision) == ("pgd-l2-0.2-2x0.25", "cpu", "float32")
    assert all(row.tracked is None for row in history.rows)


def test_tracking_looks_as_often_as_asked_and_in_the_balls_asked_for(place: Path) -> None:
    history = trained("--epochs", "3", "--track", "2", "--epsilon", "0.02", "0.04")
    assert [row.epoch for row in history.rows if row.tracked is not None] == [2, 3]
    assert history.start is not None
    assert [(a.norm, a.epsilon) for a in history.start.attacked] == [("linf", 0.02), ("linf", 0.04)]


def test_a_trained_file_can_be_trained_on(place: Path) -> None:
    assert run([*NET, "--epochs", "3", "--track", "0"]) == 0
    again = (*NET[:1], "--model", "net.safetensors", "--out", "more.safetensors", "--epochs", "1", "--track", "0")
    assert run([*again, "--json", "t.json"]) == 0
    assert from_dict(TrainingHistory, read_json("t.json")).rows[0].validation_accuracy > 0.5


def test_resume_goes_on_to_the_same_bits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*NET, "--epochs", "3", "--track", "0"]
    assert run(arguments) == 0
    whole = weights()
    monkeypatch.setattr(train_session, "_EVERY", 0.0)
    real = train_session.train
    epochs: list[int] = []

    def stopping(*positional: Any, **named: Any) -> Any:
        told = named["progress"]

        def progress(stage: str, done: int, total: int) -> None:
            told(stage, done, total)
            epochs.append(done)
            if len(epochs) == 2:
                raise KeyboardInterrupt

        return real(*positional, **{**named, "progress": progress})

    monkeypatch.setattr(train_session, "train", stopping)
    Path("net.safetensors").unlink()
    assert run([*arguments, "--resume", "state"]) == 130
    assert not Path("net.safetensors").exists()
    assert run([*arguments, "--resume", "state"]) == 0
    assert epochs[:2] == [1, 2]
    assert epochs.count(1) == 1
    assert all(torch.equal(whole[name], value) for name, value in weights().items())


def test_fast_training_is_watched_for_collapse(place: Path) -> None:
    history = trained("--epochs", "1", "--track", "1", "--adversarial", "fast", "--epsilon", "0.05")
    assert history.start is not None
    assert [a.attack.split("-")[-1] for a in history.start.attacked] == ["1", "10"]
    assert history.start.layers


def test_every_objective_takes_exactly_its_options() -> None:
    values = {"steps": 3, "beta": 2.0, "share": 0.25}
    assert OBJECTIVE_OPTIONS.keys() == OBJECTIVES.keys()
    for name, options in OBJECTIVE_OPTIONS.items():
        given = {**dict.fromkeys(values), **{option: values[option] for option in options}}
        texts = PlanTexts((), False, False, (), name, "linf", ("0.1",), **given)  # type: ignore[arg-type]
        made = texts.plan(Dynamics(epochs=1)).objective
        assert {option: getattr(made, option) for option in options} == {option: values[option] for option in options}
        fields = set(OBJECTIVES[name].__dataclass_fields__) & values.keys()  # type: ignore[attr-defined]
        assert fields == set(options)


def test_plan_without_options_is_plain() -> None:
    plan = NONE.plan(Dynamics(epochs=1))
    assert (plan.objective.name, plan.penalties, plan.layers, plan.hold_scale) == ("plain", (), None, False)


def test_radius_may_be_a_fraction() -> None:
    texts = PlanTexts((), False, False, (), "pgd", "linf", ("8/255",), None, None, None)
    made = texts.plan(Dynamics(epochs=1)).objective
    assert isinstance(made, PGDTraining)
    assert made.threat.epsilon == 8 / 255


def test_default_looks_are_ten_and_in_the_audits_balls() -> None:
    watch = NONE.watch(None, 25, (1, 8, 8))
    assert watch is not None
    assert watch.every == 3
    assert [threat.epsilon for threat in NONE.threats((3, 8, 8))] == [2 / 255, 8 / 255]
    assert NONE.watch(0, 25, (1, 8, 8)) is None


def test_texts_are_read() -> None:
    made = parse_penalty("nuclear=1e-3", proximal=True)
    assert (made.name, made.strength, made.proximal) == ("nuclear", 1e-3, True)
    noise = parse_noise("1.5:0.01")
    assert noise is not None
    assert (noise.alpha, noise.scale) == (1.5, 0.01)
    assert parse_noise(None) is None


def test_mixed_precision_leaves_the_gpu_to_accelerate() -> None:
    request = train_session.TrainRequest("zoo:mlp", None, "digits", 0, "cuda:1", "bf16", None, None, "")
    with pytest.raises(UsageError, match="give --device cpu or cuda, got 'cuda:1'"):
        train_session.run_training(request, NONE, Dynamics(epochs=1), None)
