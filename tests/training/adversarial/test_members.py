"""Batches with several members' samples: random numbers and choices are those of runs of their own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brittle.errors import UsageError
from brittle.training.adversarial.members import member_count, normal_noise, spread_rows
from tests.training.adversarial.toys import generator


def test_each_member_draws_from_its_own_generator() -> None:
    x = torch.zeros(6, 2, 9)
    noise = normal_noise(x, [generator(0), generator(1), generator(2)])
    for m in range(3):
        alone = normal_noise(x[:2], generator(m))
        assert torch.equal(noise[2 * m : 2 * m + 2], alone)
    assert not torch.equal(noise[:2], noise[2:4])


def test_noise_has_the_format_of_the_pixels_and_is_standard_normal() -> None:
    noise = normal_noise(torch.zeros(50, 400, dtype=torch.float64), generator())
    assert noise.dtype == torch.float64
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.03


def test_a_batch_that_cannot_be_cut_is_refused() -> None:
    with pytest.raises(UsageError, match="a batch of 5 samples cannot belong to 2 members in equal parts"):
        member_count(torch.zeros(5, 1), [generator(), generator()])
    with pytest.raises(UsageError, match="0 members"):
        normal_noise(torch.zeros(5, 1), [])
    assert member_count(torch.zeros(6, 1), [generator()] * 3) == 3
    assert member_count(torch.zeros(5, 1), generator()) == 1


@given(b=st.integers(1, 40), members=st.integers(1, 4), percent=st.integers(1, 100))
def test_a_share_of_each_member_s_samples_rounded_up(b: int, members: int, percent: int) -> None:
    found = spread_rows(torch.zeros(b * members, 1), percent / 100, [generator()] * members)
    per_member = -(-percent * b // 100)  # exact in whole numbers
    assert found.unique().tolist() == found.tolist()  # ascending, none twice
    assert [int(((found >= m * b) & (found < (m + 1) * b)).sum()) for m in range(members)] == [per_member] * members


def test_half_is_every_second_sample_so_that_parts_of_a_batch_are_halved_too() -> None:
    assert spread_rows(torch.zeros(8, 1), 0.5, generator()).tolist() == [0, 2, 4, 6]
    assert spread_rows(torch.zeros(1, 1), 0.5, generator()).tolist() == [0]
    assert spread_rows(torch.zeros(6, 1), 0.5, [generator(), generator()]).tolist() == [0, 2, 3, 5]
    assert spread_rows(torch.zeros(3, 1), 1.0, generator()).tolist() == [0, 1, 2]
