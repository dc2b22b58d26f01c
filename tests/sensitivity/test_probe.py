"""The causal probe: rows that differ in the hidden weights alone, on nets of the zoo and foreign ones."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from brittle.attacks.fgsm import FGSM
from brittle.compression.respectral import flatten_spectrum
from brittle.data.load import load_data
from brittle.errors import ModelError, UsageError
from brittle.evaluation.intervals import wilson
from brittle.models.recipe import Recipe, build
from brittle.sensitivity.probe import ATTACKS, ROWS, SPECTRUM, Tuning, causal_probe, probe_problem, probe_rows
from brittle.sensitivity.probe_norms import measure_norms
from brittle.threats import ball
from brittle.training.head import refit_head
from brittle.training.loop import Budget
from tests.small_nets import low_rank, trained

TRAIN = load_data("digits").split("train")
TEST = load_data("digits").split("test").take(80, 0)
THREATS = (ball("linf", 0.05), ball("l2", 0.5))


def fields(probe: object) -> tuple[object, ...]:
    return (probe.change, probe.strength)


@pytest.mark.parametrize("table", [SPECTRUM, ROWS])
@pytest.mark.parametrize("make", [trained, low_rank])
def test_rows_say_what_was_done_and_what_came_of_it(table: object, make: object) -> None:
    model = make()
    before = copy.deepcopy(model.state_dict())
    found = causal_probe(model, TRAIN, TEST.x, TEST.y, THREATS, interventions=table)
    assert [fields(p) for p in found] == [
        ("as it is", 0.0),
        ("flattened", 0.5),
        ("flattened", 1.0),
        ("concentrated", 0.5),
        ("concentrated", 1.0),
    ]
    assert {p.of for p in found} == {"singular values" if table is SPECTRUM else "row norms"}
    for p in found:
        assert p.n == 80
        assert p.clean_interval95 == wilson(round(p.clean * 80), 80)
        assert list(p.robust) == ["linf@0.05", "l2@0.5"]
        for key, share in p.robust.items():
            assert share <= p.clean
            assert p.robust_interval95[key] == wilson(round(share * 80), 80)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    if table is SPECTRUM:
        ranks = [p.stable_rank for p in found]
        assert ranks[4] < ranks[3] < ranks[0] < ranks[1] < ranks[2]


def test_stable_rank_and_accuracies_are_those_of_the_changed_net() -> None:
    model, (threat, _) = trained(), THREATS
    row = probe_rows(
        model,
        TRAIN,
        TEST.x,
        TEST.y,
        (threat,),
        interventions=SPECTRUM[2:3],
        attacks=(FGSM(),),
        penalty=1e-3,
        tuning=None,
        batch_size=50,
        seed=0,
    )[0]
    changed = flatten_spectrum(model, 1.0, ("fc1", "fc2"))
    values = [torch.linalg.svdvals(changed.get_submodule(n).weight.detach().double()) for n in ("fc1", "fc2")]
    assert row.probe.stable_rank == pytest.approx(sum(float((s / s[0]).square().sum()) for s in values) / 2, rel=1e-5)
    changed = refit_head(changed, TRAIN.x, TRAIN.y, penalty=1e-3, batch_size=50)
    assert torch.equal(changed(TEST.x).argmax(1) == TEST.y, row.right)
    x = TEST.x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(changed(x), TEST.y).backward()
    stepped = (TEST.x + threat.epsilon * (1 - 1e-6) * x.grad.sign()).clamp(0, 1)
    expected = row.right & (changed(stepped).argmax(1) == TEST.y)
    assert int((expected != row.survived["linf@0.05"]).sum()) <= 1
    assert row.probe.robust["linf@0.05"] == float(row.survived["linf@0.05"].double().mean())


def test_convolutions_are_probed_and_the_same_seed_gives_the_same_rows() -> None:
    model = build(Recipe("cnn", (1, 8, 8), 10, {"channels": [4, 6], "fc": [16]}), seed=0)
    first, again = (
        causal_probe(model, TRAIN.take(200, 0), TEST.x, TEST.y, THREATS[:1], interventions=SPECTRUM[:3], batch_size=b)
        for b in (80, 80)
    )
    assert first == again
    assert first[0].stable_rank < first[1].stable_rank < first[2].stable_rank


class Foreign(nn.Module):
    """Batch norm between the layers, the head registered first, an odd name."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Linear(12, 10)
        self.stem, self.norm = nn.Conv2d(1, 3, 3, stride=2), nn.BatchNorm2d(3)
        self.mid = nn.Linear(27, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(self.mid(self.norm(self.stem(x)).relu().flatten(1)).relu())


def test_foreign_nets_have_their_batch_norm_measured_again() -> None:
    torch.manual_seed(0)
    model = Foreign().eval()
    assert probe_problem(model, TEST.x[:2]) == ""
    rows = probe_rows(
        model,
        TRAIN,
        TEST.x,
        TEST.y,
        THREATS[:1],
        interventions=SPECTRUM[:3],
        attacks=ATTACKS,
        penalty=1e-4,
        tuning=None,
        batch_size=len(TRAIN),
        seed=0,
    )
    for row in rows:
        inside = row.model.stem(TRAIN.x)
        assert torch.allclose(row.model.norm.running_mean, inside.mean((0, 2, 3)), atol=1e-5)
        assert torch.allclose(row.model.norm.running_var, inside.var((0, 2, 3)), rtol=1e-3)
    assert not torch.equal(rows[0].model.norm.running_var, rows[2].model.norm.running_var)
    assert rows[0].probe.clean > 0.3, "random layers with a fitted head are better than chance"


def test_measured_norms_leave_modes_and_momentum() -> None:
    model = Foreign().train()
    model.stem.eval()
    measure_norms(model, TRAIN.x, batch_size=50)
    assert model.norm.momentum == 0.1
    assert model.training
    assert not model.stem.training
    assert int(model.norm.num_batches_tracked) == len(TRAIN) // 50 + (len(TRAIN) % 50 > 1)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    measure_norms(plain, TRAIN.x, batch_size=50)  # nothing to do


def test_fine_tuning_is_the_same_for_every_row_and_changes_hidden_weights() -> None:
    tuning = Tuning(load_data("digits").split("validation"), Budget(epochs=1), seed=0)
    model = trained()
    told: list[tuple[str, int, int]] = []
    rows = causal_probe(
        model,
        TRAIN,
        TEST.x,
        TEST.y,
        THREATS[:1],
        interventions=SPECTRUM[:2],
        tuning=tuning,
        progress=lambda *step: told.append(step),
    )
    assert rows != causal_probe(model, TRAIN, TEST.x, TEST.y, THREATS[:1], interventions=SPECTRUM[:2])
    assert told == [("causal probe", 1, 2), ("causal probe", 2, 2)]


def test_a_net_without_a_head_or_hidden_layers_says_why() -> None:
    headless = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh())
    assert "no linear head" in probe_problem(headless, TEST.x[:2])
    shallow = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert "before its head: nothing to probe" in probe_problem(shallow, TEST.x[:2])
    for model in (headless, shallow):
        with pytest.raises(ModelError, match="no linear"):
            causal_probe(model, TRAIN, TEST.x, TEST.y, THREATS)


def test_a_probe_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="needs threats and interventions, got 0 and 5"):
        causal_probe(trained(), TRAIN, TEST.x, TEST.y, ())
    with pytest.raises(UsageError, match="got 2 and 0"):
        causal_probe(trained(), TRAIN, TEST.x, TEST.y, THREATS, interventions=())
