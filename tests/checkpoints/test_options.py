from __future__ import annotations

from typing import Any

import pytest

from brittle.checkpoints.options import EFFORTS, CheckpointOptions
from brittle.errors import UsageError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k_fraction": 0.0}, r"k must be a fraction in \(0, 1\] .*, got 0.0"),
        ({"k_fraction": 1.5}, "got 1.5"),
        ({"exact_side": -1}, "exact side must be a whole number of 0 or more, got -1"),
        ({"probes": 2}, "probes must be a whole number of 3 or more, got 2"),
        ({"steps": 7}, "steps must be a whole number of 8 or more, got 7"),
        ({"seed": -1}, "seed must be a whole number of 0 or more, got -1"),
        ({"workers": 0}, "workers must be a whole number of 1 or more, got 0"),
        ({"workers": 1.5}, "workers must be a whole number .*, got 1.5"),
        ({"time_limit": 0.0}, "the time limit must be a positive number of seconds, got 0.0"),
    ],
)
def test_options_outside_their_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        CheckpointOptions(**options)


def test_standard_effort_is_the_default() -> None:
    assert CheckpointOptions(**EFFORTS["standard"]) == CheckpointOptions()
    sides = [CheckpointOptions(**EFFORTS[name]).exact_side for name in ("quick", "standard", "thorough")]
    assert sides == sorted(sides)
