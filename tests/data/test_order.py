from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.data.order import TRAINING, WHOLE, shuffled, stratified_part


@given(st.integers(0, 300), st.integers(0, 2**64))
def test_shuffled_is_a_permutation_that_depends_on_its_seed_alone(n: int, seed: int) -> None:
    order = shuffled(n, seed)
    assert sorted(order.tolist()) == list(range(n))
    assert np.array_equal(order, shuffled(n, seed))


def test_another_seed_gives_another_order() -> None:
    assert not np.array_equal(shuffled(50, 0), shuffled(50, 1))


def test_every_first_place_is_equally_likely() -> None:
    first = [shuffled(5, seed)[0] for seed in range(2000)]
    # 400 expected each, standard deviation 18: five of them
    assert np.all(np.abs(np.bincount(first, minlength=5) - 400) < 90)


@given(st.lists(st.integers(-3, 4), max_size=120), st.sampled_from([WHOLE, TRAINING]))
def test_parts_are_disjoint_cover_everything_and_keep_the_shares(y: list[int], deal: tuple[str, ...]) -> None:
    labels = np.array(y, np.int64)
    parts = {name: stratified_part(name, labels, deal) for name in set(deal)}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(y)))
    for name, index in parts.items():
        assert np.all(np.diff(index) > 0)
        share = deal.count(name) / len(deal)
        assert abs(len(index) - share * len(y)) < 1
        for label in set(y):
            assert abs(np.sum(labels[index] == label) - share * y.count(label)) < 1.5


@pytest.mark.parametrize(("deal", "shares"), [(WHOLE, (60, 10, 30)), (TRAINING, (90, 10, 0))])
def test_the_documented_percentages(deal: tuple[str, ...], shares: tuple[int, ...]) -> None:
    y = np.zeros(100, np.int64)
    assert tuple(len(stratified_part(name, y, deal)) for name in ("train", "validation", "test")) == shares


def test_a_class_is_shuffled_before_it_is_cut() -> None:
    index = stratified_part("train", np.zeros(1000, np.int64), TRAINING)
    gaps = np.diff(index)
    assert gaps.max() > 2  # a cut without shuffling leaves out every tenth sample, so the widest gap is two
