"""Progress of a part is told as progress of the whole."""

from __future__ import annotations

from brittle.auditing.progress import prefixed


def test_the_prefix_comes_before_every_stage_and_none_stays_none() -> None:
    told: list[tuple[str, int, int]] = []
    twice = prefixed(prefixed(lambda *event: told.append(event), "seed 1: "), "net: ")
    assert twice is not None
    twice("training", 2, 5)
    assert told == [("seed 1: net: training", 2, 5)]
    assert prefixed(None, "seed 1: ") is None
