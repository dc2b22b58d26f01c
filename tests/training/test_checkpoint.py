"""States of a run: exact, whole, of this run only, and never one that leads nowhere."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from brittle.errors import UsageError
from brittle.evaluation.checkpoint import State
from brittle.training import added
from brittle.training.checkpoint import Checkpoints, optimiser_tensors, part, restore_optimisers, run_key, under
from brittle.training.engine import Trained, train
from brittle.training.optimisers import OPTIMISERS
from brittle.training.plan import Dynamics, HeavyTails, Plan, Weighted
from tests.training.toys import TOYS, Counting, digits, mlp, same


class StoppedError(Exception):
    pass


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(added, "_penalty", TOYS.__getitem__)


def net() -> nn.Module:
    return nn.Sequential(*copy.deepcopy(mlp(12, 2)), nn.Dropout(0.1))


def plan(name: str, stop: int | None = None, **more: Any) -> Plan:
    def told(call: int) -> None:
        if call == stop:
            raise StoppedError

    noise = HeavyTails(1.9, 1e-4)
    how = Dynamics(
        **{"learning_rate": 1e-2, "patience": 3, **more},
        epochs=3,
        batch_size=40,
        optimiser=name,
        label_noise=0.1,
        gradient_noise=noise,
    )
    return Plan(how, Counting(told), (Weighted("ridge", 0.01, proximal=name == "sgd"),), ("1", "3"), hold_scale=True)


def go(this: Plan, folder: Path | None, model: nn.Module | None = None, seed: int = 0, **more: Any) -> Trained:
    model = net() if model is None else model
    return train(model, *digits(160), this, seed=seed, checkpoints=folder, every=0.0, **more)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    whole = go(plan(name), None)
    for stop in (3, 6, 11):  # within the first epoch, the second, the third (4 steps each)
        with pytest.raises(StoppedError):
            go(plan(name, stop), tmp_path)
    told: list[str] = []
    again = go(plan(name), tmp_path, progress=lambda stage, done, total: told.append(f"{stage} {done}"))
    assert told == ["going on from epoch 3, step 10 0", "training 3"]
    assert same(whole.model.state_dict(), again.model.state_dict())
    assert whole.history.rows == again.history.rows
    assert whole.history.best_epoch == again.history.best_epoch


def test_the_best_epoch_outlives_the_process(tmp_path: Path) -> None:
    steep = {"learning_rate": 0.03}
    whole = go(plan("adamw", **steep), None)
    assert whole.history.best_epoch == 1, "choose a setting that gets worse after the first epoch"
    with pytest.raises(StoppedError):
        go(plan("adamw", 7, **steep), tmp_path)
    assert same(whole.model.state_dict(), go(plan("adamw", **steep), tmp_path).model.state_dict())


def test_a_finished_run_answers_at_once(tmp_path: Path) -> None:
    first = go(plan("adamw"), tmp_path)
    again = go(plan("adamw", stop=1), tmp_path)  # a single step would stop it
    assert same(first.model.state_dict(), again.model.state_dict())
    assert again.history.rows == first.history.rows
    assert again.history.seconds >= first.history.seconds


def test_other_runs_in_the_folder_are_ignored_and_left_alone(tmp_path: Path) -> None:
    go(plan("adamw"), tmp_path)
    other_weights = net()
    with torch.no_grad():
        other_weights[1].weight[0, 0] += 1e-3
    for number, more in enumerate(
        ({"seed": 1}, {"model": other_weights}, {"this": plan("adamw", clip=1.0)}, {"this": plan("sgd")}), start=2
    ):
        told: list[int] = []
        go(**{"this": plan("adamw"), "folder": tmp_path, "progress": lambda *s, t=told: t.append(s[1]), **more})
        assert told == [1, 2, 3], "it must not go on from a foreign state"
        assert len(list(tmp_path.glob("*.safetensors"))) == number


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:]])
def test_a_damaged_file_is_ignored_and_replaced(damage: Any, tmp_path: Path) -> None:
    first = go(plan("adamw"), tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert same(first.model.state_dict(), go(plan("adamw"), tmp_path).model.state_dict())
    with pytest.raises(StoppedError):
        go(plan("adamw", stop=2), tmp_path / "empty")
    assert go(plan("adamw", stop=1), tmp_path).history.rows == first.history.rows, "the file is whole again"


def offers(store: Checkpoints, number: int) -> None:
    store.offer(lambda: State({"x": torch.tensor(number)}, {"number": number}))


def test_a_state_is_written_once_it_proved_good(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, lambda: "key", 0.0)
    offers(store, 1)
    assert store.load() is None
    store.good()
    offers(store, 2)
    found = store.load()
    assert found is not None
    assert found.values["number"] == 1
    store.finish(lambda: State({}, {"number": 3}))
    assert Checkpoints(tmp_path, lambda: "key", 0.0).load().values["number"] == 3  # type: ignore[union-attr]
    assert Checkpoints(tmp_path, lambda: "other", 0.0).load() is None


def test_an_offered_state_does_not_change_with_the_training(tmp_path: Path) -> None:
    store, weight = Checkpoints(tmp_path, lambda: "key", 0.0), torch.zeros(3)
    store.offer(lambda: State({"a": weight, "tied": weight}, {}))
    weight += 1
    store.good()
    assert torch.equal(store.load().tensors["tied"], torch.zeros(3))  # type: ignore[union-attr]


def test_states_keep_their_distance_and_other_processes_their_hands_off(tmp_path: Path) -> None:
    for store in (Checkpoints(tmp_path, lambda: "key", 1e6), Checkpoints(tmp_path, lambda: "key", 0.0, writes=False)):
        offers(store, 1)
        store.good()
        assert not list(tmp_path.iterdir())
    no = Checkpoints(None, lambda: pytest.fail("no key is needed"), 0.0)
    offers(no, 1)
    no.good()
    no.finish(lambda: pytest.fail("no state is needed"))
    assert no.load() is None


def test_places_that_cannot_be_used_are_refused_before_any_work(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match=r"cannot use .*file as a folder"):
        go(plan("adamw", stop=1), file)
    with pytest.raises(UsageError, match=r"seconds between checkpoints must be a number >= 0, got nan"):
        Checkpoints(tmp_path, lambda: "key", float("nan"))


def test_a_plan_without_a_lasting_printed_form_keeps_no_states(tmp_path: Path) -> None:
    class Nameless(Counting):
        __repr__ = object.__repr__

    this = Plan(Dynamics(1), Nameless())
    with pytest.raises(UsageError, match=r"printed form is another in each process .*: make its objective a dataclass"):
        go(this, tmp_path)
    assert go(this, None).history.best_epoch == 1


def test_the_key_knows_what_the_model_does_and_holds() -> None:
    def key(model: nn.Module, seed: int = 0) -> str:
        return run_key(model, Plan(Dynamics(1)), [], seed, ["data"], "cpu")

    def drop(p: float) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(3, 2), nn.Dropout(p))

    assert key(drop(0.1)) == key(drop(0.1))
    assert key(drop(0.1)) != key(drop(0.2))
    assert key(drop(0.1)) != key(drop(0.1), seed=1)
    assert key(drop(0.1)) != key(drop(0.1).double())


def test_names_of_parts() -> None:
    tensors: dict[str, Tensor] = {**under("a", {"b/c": torch.ones(1)}), **under("ab", {"d": torch.ones(2)})}
    assert part("a", State(tensors, {})).keys() == {"b/c"}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_come_back_with_their_steps(name: str) -> None:
    def made() -> tuple[nn.Module, tuple[torch.optim.Optimizer, ...]]:
        model = net()
        return model, OPTIMISERS[name](model, 0.1, 0.0, 0.9)

    def steps(model: nn.Module, optimisers: tuple[torch.optim.Optimizer, ...], count: int) -> None:
        for _ in range(count):
            for p in model.parameters():
                p.grad = p.detach() + 1
            for optimiser in optimisers:
                optimiser.step()

    model, optimisers = made()
    steps(model, optimisers, 2)
    child, fresh = made()
    child.load_state_dict(model.state_dict())
    restore_optimisers(fresh, optimiser_tensors(optimisers))
    steps(model, optimisers, 2)
    steps(child, fresh, 2)
    assert same(model.state_dict(), child.state_dict())
