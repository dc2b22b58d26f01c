from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from brittle.attacks.noise import sample_noise
from brittle.errors import UsageError


def draw(indices, seed=0, stream="s", shape=(3, 4), dtype=torch.float64):
    return sample_noise(seed, indices, shape, stream, dtype=dtype, device="cpu")


def test_numbers_belong_to_the_sample_whatever_the_batch_and_order():
    whole = draw(torch.arange(20))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draw(order), whole[order])
    assert torch.equal(torch.cat([draw(part) for part in torch.arange(20).split(7)]), whole)


def test_seed_stream_and_index_each_change_the_numbers():
    base = draw([5])
    assert not torch.equal(draw([6]), base)
    assert not torch.equal(draw([5], seed=1), base)
    assert not torch.equal(draw([5], stream="t"), base)


def test_seed_and_stream_are_not_confused():
    assert not torch.equal(draw([5], seed=1, stream="1"), draw([5], seed=11, stream=""))


def test_distribution_is_standard_normal_and_samples_are_uncorrelated():
    noise = draw(range(400), shape=(100,)).numpy()
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(noise)[np.triu_indices(400, 1)]
    assert abs(correlation.mean()) < 0.002
    assert correlation.std() == pytest.approx(0.1, rel=0.05)


def test_float32_is_the_rounded_float64():
    assert torch.equal(draw([1, 2], dtype=torch.float32), draw([1, 2]).float())


def test_global_random_state_is_left_alone():
    torch.manual_seed(3)
    np.random.seed(3)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    draw(range(10))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], legacy)


def test_no_samples_give_an_empty_tensor():
    assert draw([]).shape == (0, 3, 4)


def test_negative_index_is_refused():
    with pytest.raises(UsageError, match="indices must be >= 0, got -1"):
        draw([3, -1])
