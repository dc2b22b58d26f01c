"""A budget as steps: arithmetic against a count over batches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.errors import UsageError
from brittle.training.recovery.budget import spending


@given(
    n=st.integers(1, 400),
    batch_size=st.integers(1, 64),
    cost=st.floats(1, 40),
    budget=st.floats(0.01, 60),
)
def test_it_takes_batches_while_they_can_be_paid(n: int, batch_size: int, cost: float, budget: float) -> None:
    """The reference walks through the passes batch by batch until the next one would be too dear."""
    paid, steps, epochs, seen = budget * n / cost * (1 + 1e-12), 0, 0, 0
    sizes = [min(batch_size, n - start) for start in range(0, n, batch_size)]
    sizes = [size for size in sizes if size > 1] or sizes
    while steps < 100_000:
        size = sizes[steps % len(sizes)]
        whole = int(paid) // sum(sizes) > steps // len(sizes)  # the pass under way is paid in full
        if seen + size > int(paid) or (not whole and size != sizes[0]):
            break
        epochs += steps % len(sizes) == 0
        steps, seen = steps + 1, seen + size
    if steps == 0:
        with pytest.raises(UsageError, match="does not pay for one batch"):
            spending(budget, cost, n, batch_size)
        return
    found = spending(budget, cost, n, batch_size)
    assert (found.epochs, found.steps, found.samples) == (epochs, steps, seen)
    assert found.gradients == pytest.approx(cost * seen / n)
    assert found.gradients <= budget * (1 + 1e-9)
    assert found.gradients > budget - cost * (sizes[0] + 1) / n - 1e-9, "another batch could have been paid"


def test_less_than_a_pass_sees_a_part() -> None:
    assert spending(2.5, 6, 1200, 100) == spending(2.5, 6, 1200, 100)
    found = spending(2.5, 6, 1200, 100)
    assert (found.epochs, found.steps, found.samples, found.gradients) == (1, 5, 500, 2.5)


def test_a_last_batch_of_one_is_left_out_but_batches_of_one_are_not() -> None:
    assert spending(2, 1, 101, 50).steps == 4
    assert spending(2, 1, 5, 1).steps == 10
    assert spending(2, 1, 1, 50).steps == 2


def test_whole_passes_include_the_short_last_batch() -> None:
    found = spending(12, 6, 250, 100)
    assert (found.epochs, found.steps, found.samples, found.gradients) == (2, 6, 500, 12.0)


def test_the_remedy_is_enough() -> None:
    with pytest.raises(UsageError) as caught:
        spending(0.1, 6, 1000, 128)
    message = str(caught.value)
    assert message == (
        "a budget of 0.1 gradient evaluations for each of 1000 images does not pay for one batch of 128 at 6 a "
        "sample: give at least 0.768, or a smaller batch"
    )
    assert spending(0.768, 6, 1000, 128).steps == 1


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_budgets_out_of_range_are_refused(budget: float) -> None:
    with pytest.raises(UsageError, match="a budget is a positive number of gradient evaluations for each training"):
        spending(budget, 1, 10, 5)
