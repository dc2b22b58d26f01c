"""Every source makes a network of the structure it claims."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from brittle.errors import BrittleError, UsageError
from brittle.models.layers import LowRankLinear
from brittle.models.recipe import build
from brittle.studies.grid import trials_of
from brittle.studies.making import SOURCES, make, make_group
from brittle.studies.sources import parent
from brittle.studies.sources.architecture import dense_recipe
from brittle.studies.sources.scale import scales, set_scales
from brittle.studies.tasks import Learning, task_of
from brittle.studies.trial import Dense, Trial
from brittle.training.matrices import chosen_matrices

BASE = {"training.epochs": [3], "model": ["zoo:mlp?width=30&depth=2"]}
LASSO = {"kind": "penalty", "name": "group_lasso", "strength": 0.02}
POST = {"kind": "post-hoc", "method": "l2", "keep": 0.5}


@pytest.fixture(scope="module")
def learning() -> Learning:
    return task_of("digits", 200, 50, 0).learning


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


def trial(source: dict[str, Any], **changes: Any) -> Trial:
    return trials_of(Trial(), {**BASE, "source": [source], **{k: [v] for k, v in changes.items()}})[0]


def digest(net: nn.Module) -> str:
    found = hashlib.sha256()
    for name, value in net.state_dict().items():
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


def size(net: nn.Module) -> int:
    return sum(int(p.count_nonzero()) for p in net.parameters())


def start_scales(one: Trial, learning: Learning) -> dict[str, float]:
    return scales(build(dense_recipe(one, learning), seed=one.seed))


def spectrum_share(net: nn.Module, k: int) -> float:
    sigma = torch.linalg.svdvals(net.get_submodule("fc1").weight.detach().double())  # type: ignore[arg-type]
    return float(sigma[:k].sum() / sigma.sum())


def test_a_penalty_acts(learning: Learning, memory: Path) -> None:
    dense, lasso = (make(trial(s), learning, memory) for s in ({"kind": "dense"}, LASSO))
    assert sum(scales(lasso).values()) < 0.9 * sum(scales(dense).values())
    evened = make(trial({"kind": "intervention", "name": "beta_control", "strength": 5.0, "of": LASSO}), learning)

    def spread(net: nn.Module) -> float:
        nu = net.get_submodule("fc1").weight.detach().abs().sum(1)  # type: ignore[operator, union-attr]
        return float(nu.topk(2).values.var() / nu.mean() ** 2)

    assert spread(evened) < spread(lasso)


def test_a_rank_is_one(learning: Learning) -> None:
    net = make(trial({"kind": "rank", "rank": 4}), learning)
    assert isinstance(net.get_submodule("fc1"), LowRankLinear)
    for matrix in chosen_matrices(net, None):
        assert int(torch.linalg.matrix_rank(matrix.tensor().detach().double(), rtol=1e-5)) <= 4


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "dense"},
        LASSO,
        {"kind": "rank", "rank": 4},
        {"kind": "width", "factor": 0.5},
        {"kind": "dynamics", "setting": "batch_size", "value": 20},
        POST,
        {**POST, "method": "svd", "finetune": 1.0},
    ],
    ids=["dense", "penalty", "rank", "width", "dynamics", "l2", "svd, fine-tuned"],
)
def test_a_held_scale_is_that_of_the_dense_start(source: dict[str, Any], learning: Learning, memory: Path) -> None:
    held = trial(source, hold_scale=True)
    assert scales(make(held, learning, memory)) == pytest.approx(start_scales(held, learning), rel=1e-4)


def test_a_scale_source_multiplies_it(learning: Learning) -> None:
    one = trial({"kind": "scale", "factor": 1.5})
    wanted = {name: 1.5 * norm for name, norm in start_scales(one, learning).items()}
    assert scales(make(one, learning)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("method", ["l2", "svd", "magnitude", "robust-taylor"])
def test_a_post_hoc_source_meets_its_size(method: str, learning: Learning, memory: Path) -> None:
    dense = make(trial({"kind": "dense"}), learning, memory)
    for finetune in (0.0, 1.0):
        child = make(trial({**POST, "method": method, "finetune": finetune}), learning, memory)
        assert 0.87 * 0.5 <= size(child) / size(dense) <= 0.5 + 1e-9


def test_without_fine_tuning_the_rows_that_stay_are_the_parents(learning: Learning, memory: Path) -> None:
    dense, child = (make(trial(s), learning, memory) for s in ({"kind": "dense"}, POST))
    theirs, ours = (net.get_submodule("fc1").weight.detach() for net in (dense, child))  # type: ignore[union-attr]
    assert len(ours) < len(theirs)
    assert all(bool((theirs == row).all(1).any()) for row in ours)  # type: ignore[union-attr]


def test_a_planted_spectrum_leaves_the_scale_and_refits_the_head(learning: Learning, memory: Path) -> None:
    dense, none, much = (
        make(trial(s), learning, memory)
        for s in ({"kind": "dense"}, {"kind": "spectrum", "strength": 0.0}, {"kind": "spectrum", "strength": 1.0})
    )
    assert scales(much) == pytest.approx(scales(dense), rel=1e-4)
    assert spectrum_share(none, 3) == pytest.approx(spectrum_share(dense, 3), rel=1e-6)
    assert spectrum_share(much, 3) > 2 * spectrum_share(none, 3)
    changed = {name for name, v in none.state_dict().items() if not torch.equal(v, dense.state_dict()[name])}
    assert changed == {"head.weight", "head.bias"}


def test_flattening_undoes_concentration(learning: Learning, memory: Path) -> None:
    of = {"kind": "rank", "rank": 8}
    rank = make(trial(of), learning)
    flat = make(trial({"kind": "intervention", "name": "flatten", "strength": 1.0, "of": of}), learning, memory)
    assert scales(flat) == pytest.approx(scales(rank), rel=1e-4)

    def condition(net: nn.Module) -> float:
        sigma = torch.linalg.svdvals(chosen_matrices(net, None)[0].tensor().detach().double())
        return float(sigma[0] / sigma[3])

    assert condition(flat) < 1.01 < condition(rank)


def test_eps_pruning_cuts_to_size(learning: Learning, memory: Path) -> None:
    dense = size(make(trial({"kind": "dense"}), learning, memory))
    of_penalty = {"kind": "intervention", "name": "eps-pruning", "strength": 0.4, "of": LASSO}
    of_post_hoc = {"kind": "intervention", "name": "eps-pruning", "strength": 1.0, "of": {**POST, "method": "svd"}}
    assert 0.35 <= size(make(trial(of_penalty), learning, memory)) / dense <= 0.4
    child = make(trial(of_post_hoc), learning, memory)
    assert digest(child) == digest(make(trial({**POST, "method": "svd-eps"}), learning, memory))
    units = {"kind": "intervention", "name": "eps-pruning", "strength": 1.0, "of": POST}
    assert digest(make(trial(units), learning, memory)) == digest(
        make(trial({**POST, "method": "eps"}), learning, memory)
    )
    assert 0.43 <= size(child) / dense <= 0.5
    assert isinstance(child.get_submodule("fc1"), LowRankLinear)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"name": "alignment", "of": POST}, "post-hoc source with finetune 0 has no step"),
        ({"name": "eps-pruning", "of": {"kind": "rank", "rank": 3}}, "eps-pruning of a low-rank network"),
        ({"name": "eps-pruning", "strength": 2.0, "of": LASSO}, "share of parameters that stay, at most 1: 2"),
        ({"name": "eps-pruning", "of": {**POST, "method": "axe"}}, "unknown compression method 'axe'"),
    ],
)
def test_interventions_without_room_are_refused(source: dict[str, Any], words: str, learning: Learning) -> None:
    with pytest.raises(UsageError, match=words):
        make(trial({"kind": "intervention", "strength": 0.5, **source}), learning)


def test_a_size_that_no_method_reaches_is_refused(learning: Learning, memory: Path) -> None:
    with pytest.raises(BrittleError, match=r"size|parameters"):
        make(trial({**POST, "keep": 0.001}), learning, memory)


def test_a_scale_of_nothing_cannot_be_set() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    nn.init.zeros_(net[0].weight)  # type: ignore[arg-type]
    with pytest.raises(BrittleError, match="layer '0' has no scale to be set"):
        set_scales(net, {"0": 1.0})


def test_the_parent_is_trained_once_and_kept(
    learning: Learning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    train_one = parent.train_one
    monkeypatch.setattr(parent, "train_one", lambda *given: calls.append(given) or train_one(*given))
    anew = digest(make(trial(POST), learning))
    assert digest(make(trial(POST), learning, tmp_path)) == anew
    assert digest(make(trial({**POST, "finetune": 1.0}, test=30, measures=["clean"]), learning, tmp_path)) != anew
    assert len(calls) == 2
    (file,) = (tmp_path / "parents").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert digest(make(trial(POST), learning, tmp_path)) == anew
    assert len(calls) == 3
    for change in ({"seed": 1}, {"hold_scale": True}, {"training.epochs": 2}):
        make(trial(POST, **change), learning, tmp_path)
    assert len(calls) == 6
    make(trial(POST), task_of("digits", 150, 50, 0).learning, tmp_path)
    assert len(calls) == 7


def test_a_group_is_its_members(learning: Learning, memory: Path) -> None:
    trials = [trial({"kind": "dense"}), trial(LASSO, seed=1), trial(POST), trial({"kind": "dense"}, hold_scale=True)]
    for one, net in zip(trials, make_group(trials, learning, memory), strict=True):
        alone = make(one, learning, memory)
        assert not net.training
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(net.state_dict()[name], value, atol=2e-3, rtol=2e-3)


def test_every_kind_of_source_has_a_maker() -> None:
    kinds = {"dense", "penalty", "rank", "width", "dynamics", "post-hoc", "intervention", "spectrum", "scale"}
    assert SOURCES.keys() == kinds
    assert Dense().kind in SOURCES
