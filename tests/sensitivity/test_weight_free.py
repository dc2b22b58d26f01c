"""Adversaries without the weights: shares of the white-box damage, on digits nets and where the answer is known."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from brittle.attacks.universal import SteepestAscent
from brittle.data.load import load_data
from brittle.errors import DataError, UsageError
from brittle.results.perturbations import WeightFree
from brittle.results.serialise import from_dict, to_dict
from brittle.sensitivity.weight_free import weight_free
from brittle.sensitivity.weight_free_kinds import KINDS, Effort, Job, right_at
from brittle.threats import ball
from tests.sensitivity.test_queries import BlackBox
from tests.small_nets import low_rank, trained

TRAIN = load_data("digits").split("train").take(150, 0)
TEST = load_data("digits").split("test").take(100, 0)
LINF = ball("linf", 0.1)
SMALL = Effort(steps=10, square=60, k=4, probes=8, tries=20, universal=10, ascent=SteepestAscent(steps=12))


@cache
def rows(norm: str) -> dict[tuple[str, str], WeightFree]:
    threat = LINF if norm == "linf" else ball("l2", 0.6)
    surrogates = {"itself": trained(), "low-rank": low_rank()}
    arguments = (trained(), TRAIN.x, TRAIN.y, TEST.x, TEST.y, threat)
    found = weight_free(*arguments, surrogates=surrogates, effort=SMALL, batch_size=64)
    return {(row.kind, row.source): row for row in found}


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_kind_has_a_row_for_each_surrogate_and_one_for_queries(norm: str) -> None:
    found = rows(norm)
    assert list(found) == [(kind, source) for kind in KINDS for source in ("itself", "low-rank", "")]
    queries = {"examples": 60, "universal": 20, "directions": 16}
    for (kind, source), row in found.items():
        assert row.knowledge == ("surrogate" if source else "queries")
        assert row.queries == (0 if source else queries[kind])
        assert (row.norm, row.n) == (norm, 100)
        assert from_dict(WeightFree, to_dict(row)) == row


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_targets_own_weights_have_a_share_of_one(norm: str) -> None:
    for kind in KINDS:
        row = rows(norm)[kind, "itself"]
        assert row.accuracy == row.white_box
        assert row.damage_share == 1.0
        assert row.interval95 is not None
        assert row.interval95[0] < 1.0 < row.interval95[1]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_shares_are_ratios_of_accuracy_lost(norm: str) -> None:
    clean = float((trained()(TEST.x).argmax(1) == TEST.y).double().mean())
    for row in rows(norm).values():
        assert row.damage_share == pytest.approx((clean - row.accuracy) / (clean - row.white_box))
        assert row.interval95 is not None
        assert row.interval95[0] <= row.damage_share <= row.interval95[1]
    for kind in ("examples", "directions"):  # a child of the target, and queries, come far on digits
        assert rows(norm)[kind, "low-rank"].damage_share > 0.3
        assert rows(norm)[kind, ""].damage_share > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_queries_and_scoring_never_take_a_gradient(kind: str) -> None:
    box = BlackBox(trained())
    job = Job(TRAIN.x, TRAIN.y, TEST.x, TEST.y, LINF, SMALL, batch_size=64, seed=0)
    made, queries = KINDS[kind].queries(box, job)
    fitted = len(TEST) if kind == "examples" else len(TRAIN)
    # Square asks once more at the sample itself, and stops early where it can.
    assert box.seen <= fitted * (queries + 1)
    assert kind == "examples" or box.seen == fitted * queries
    assert box.largest <= 64
    assert KINDS[kind].right(box, made, job).shape == (100,)


def test_a_masked_white_box_is_beaten_by_those_who_know_less() -> None:
    class Rounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = trained()

        def forward(self, x: Tensor) -> Tensor:
            return self.net((x * 8).round() / 8)

    arguments = (Rounded(), TRAIN.x, TRAIN.y, TEST.x, TEST.y, ball("linf", 0.15))
    found = weight_free(*arguments, surrogates={"plain": trained()}, kinds=("examples",), effort=SMALL)
    for row in found:
        assert row.accuracy < row.white_box - 0.1
        assert row.damage_share is None or row.damage_share > 1


def test_without_white_box_damage_there_is_no_share() -> None:
    (row,) = weight_free(
        trained(),
        TRAIN.x,
        TRAIN.y,
        TEST.x[:20],
        trained()(TEST.x[:20]).argmax(1),
        ball("linf", 1e-5),
        surrogates={},
        kinds=("examples",),
        effort=SMALL,
    )
    assert (row.damage_share, row.interval95) == (None, None)
    assert row.accuracy == row.white_box == 1.0


def test_progress_and_order_of_kinds() -> None:
    told: list[tuple[str, int, int]] = []
    found = weight_free(
        trained(),
        TRAIN.x,
        TRAIN.y,
        TEST.x[:20],
        TEST.y[:20],
        LINF,
        surrogates={},
        kinds=("directions", "examples"),
        effort=SMALL,
        progress=lambda *step: told.append(step),
    )
    assert [row.kind for row in found] == ["directions", "examples"]
    assert told == [("adversaries without the weights", done, 2) for done in (1, 2)]


def test_right_at_does_not_depend_on_the_batch_size() -> None:
    expected = trained()(TEST.x).argmax(1) == TEST.y
    for size in (7, 100):
        assert torch.equal(right_at(trained(), TEST.x, TEST.y, size), expected)


def test_bad_input_is_refused() -> None:
    arguments = (trained(), TRAIN.x, TRAIN.y, TEST.x, TEST.y, LINF)
    with pytest.raises(UsageError, match="unknown kind of adversary 'patch': expected one of examples, universal, dir"):
        weight_free(*arguments, surrogates={}, kinds=("patch",))
    with pytest.raises(DataError, match="labels from 0 to 2"):
        weight_free(*arguments, surrogates={"other": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))})
    with pytest.raises(UsageError, match="batch size"):
        weight_free(*arguments, surrogates={}, batch_size=0)
