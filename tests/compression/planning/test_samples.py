"""The evidence in parts: who gets which sample, and that none is lost or in two parts."""

from __future__ import annotations

import pytest
import torch

from brittle.compression.planning.measure import Bench
from brittle.compression.planning.samples import SHARED, doubled, joined, leading, parts
from brittle.compression.protocols import Evidence
from brittle.errors import DataError


def numbered(start: int, stop: int) -> Evidence:
    """One pixel and one label each, both the sample's number."""
    y = torch.arange(start, stop)
    return Evidence(y[:, None].float(), y, None, 0)


def numbers(evidence: Evidence) -> list[int]:
    assert torch.equal(evidence.x[:, 0].long(), evidence.y), "pixels and labels go together"
    return evidence.y.tolist()


@pytest.mark.parametrize("count", [50, 53, SHARED, SHARED + 1, SHARED + 777])
def test_every_sample_is_in_one_part_and_what_is_beyond_is_fitted_to(count: int) -> None:
    fitted, chosen, held = (numbers(part) for part in parts(numbered(0, count)))
    assert sorted(fitted + chosen + held) == list(range(count))
    dealt = range(min(count, SHARED))
    assert fitted == [i for i in dealt if i % 5 in (0, 2)] + list(range(SHARED, count))
    assert chosen == [i for i in dealt if i % 5 in (1, 3)]


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError, match="at least 50 training samples to choose from, got 49"):
        parts(numbered(0, 49))


def test_joined_takes_turns_and_loses_none() -> None:
    assert numbers(joined(numbered(0, 3), numbered(10, 13))) == [0, 10, 1, 11, 2, 12]
    assert numbers(joined(numbered(0, 4), numbered(10, 12))) == [0, 10, 1, 11, 2, 3]
    assert numbers(joined(numbered(0, 1), numbered(10, 13))) == [0, 10, 11, 12]


def test_leading_samples() -> None:
    assert numbers(leading(numbered(0, 5), 3)) == [0, 1, 2]
    assert numbers(leading(numbered(0, 5), 9)) == [0, 1, 2, 3, 4]


def test_doubled_puts_each_adversarial_example_behind_its_sample() -> None:
    given = numbered(0, 3)
    attacked = doubled(Bench(given.x, given.y, given.x + 0.5, None, 10), given)
    assert attacked.x[:, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert attacked.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert doubled(Bench(given.x, given.y, None, None, 10), given) is given
