"""The clock, the gate, the front, the names of files, and sizes, each by itself."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from brittle.compare import compare
from brittle.delivery.clock import Clock, TimeIsUpError
from brittle.delivery.gate import drops, gate
from brittle.delivery.names import sibling
from brittle.delivery.points import marked
from brittle.delivery.sizes import size_of
from brittle.results.compression import Drop, FrontPoint, Robust, Scored
from tests.small_nets import quick_audit


def test_a_clock_without_a_limit_never_stops() -> None:
    clock = Clock.start(None)
    clock.check()
    assert (clock.left(), clock.over) == (None, False)


def test_making_ends_before_everything_does() -> None:
    clock = Clock.start(100.0)
    assert clock.making is not None
    assert clock.end is not None
    assert clock.end - clock.making == pytest.approx(30.0)
    left = clock.left()
    assert left is not None
    assert 99.0 < left <= 100.0
    late = Clock(monotonic() - 1, monotonic() + 100)
    assert not late.over
    with pytest.raises(TimeIsUpError):
        late.check()
    over = Clock(monotonic() - 2, monotonic() - 1)
    assert over.over
    assert over.left() == pytest.approx(0, abs=1e-5)
    assert over.left() != 0  # audits refuse a limit of 0


def test_work_that_tells_its_progress_is_stopped() -> None:
    told: list[tuple[str, int, int]] = []
    tell = Clock.start(100.0).stopping(lambda *said: told.append(said))
    tell("stage", 1, 2)
    assert told == [("stage", 1, 2)]
    with pytest.raises(TimeIsUpError):
        Clock(monotonic() - 1, monotonic() + 1).stopping(None)("stage", 1, 2)


DROPS = (Drop("clean", 0.0, 3.0, (2.1, 4.0)), Drop("linf", 0.05, 1.0, (-0.5, 2.5)))


def test_the_gate_fails_where_a_whole_interval_is_above_it() -> None:
    held = gate(DROPS, 2.1)
    assert held is not None
    assert (held.held, held.why) == (True, ())
    failed = gate(DROPS, 2.0)
    assert failed is not None
    assert not failed.held
    assert failed.why == ("clean: drop +3.0 points, 95 % interval [2.1, 4.0], above 2 points",)
    below = gate(DROPS, 0.0)
    assert below is not None
    assert len(below.why) == 1
    assert gate(DROPS, None) is None
    assert gate((), 2.0) is None


def test_drops_are_those_of_the_comparison() -> None:
    child = compare(quick_audit("trained"), quick_audit("low_rank"), 2.0)
    assert child.comparison is not None
    found = drops(child)
    assert [(d.norm, d.epsilon) for d in found] == [("clean", 0.0), ("linf", 0.05), ("l2", 0.5)]
    base = quick_audit("trained")
    for drop, row, before in zip(found[1:], child.robustness, base.robustness, strict=True):
        assert drop.points == pytest.approx(100 * (before.attacked - row.attacked))
    assert found[0].points == pytest.approx(100 * (base.robustness[0].clean - child.robustness[0].clean))
    assert drops(quick_audit("low_rank")) == ()


def a_point(parameters: int, clean: float, attacked: float | None) -> FrontPoint:
    rows = () if attacked is None else (Robust("linf", 0.1, "a", attacked, (0.0, 1.0)),)
    return FrontPoint("p", "m", 0.5, parameters, Scored("test", 9, clean, (0.0, 1.0), rows), False)


def dominated(one: tuple[int, float, float], other: tuple[int, float, float]) -> bool:
    """By the definition: `other` is as small and at least as accurate, and better in something."""
    return other[0] <= one[0] and other[1] >= one[1] and other[2] >= one[2] and other != one


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.0, 0.2, 0.4]))))
def test_the_front_is_the_points_that_nothing_dominates(values: list[tuple[int, float, float]]) -> None:
    found = marked([a_point(*value) for value in values])
    expected = [not any(dominated(one, other) for other in values) for one in values]
    assert [point.on_front for point in found] == expected


def test_a_radius_that_only_one_was_scored_at_decides_nothing() -> None:
    small, large = marked([a_point(1, 0.9, None), a_point(2, 0.8, 0.5)])
    assert small.on_front
    assert not large.on_front


def test_files_of_a_sweep_stand_beside_the_first() -> None:
    assert sibling(Path("a/net.safetensors"), 0.25) == Path("a/net-0.25.safetensors")
    assert sibling(Path("net.safetensors"), 1 / 8) == Path("net-0.125.safetensors")


def test_sizes_are_counted() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3, bias=False)).double()
    with torch.no_grad():
        net[1].weight[2] = 0
    size = size_of(net, (3, 2, 2), None)
    assert (size.parameters, size.nonzero, size.multiply_adds) == (12 * 5 + 5 + 15, 12 * 4 + 5 + 15, 12 * 5 + 15)
    assert size.bits == 64
    assert size_of(net, (3, 2, 2), 8).bits == 8
    assert size.file_bytes is not None
    assert 8 * size.parameters < size.file_bytes < 8 * size.parameters + 400
    assert size.latency_ms is not None
    assert size.latency_interval is not None
    low, high = size.latency_interval
    assert 0 < low <= size.latency_ms <= high


def test_equal_points_do_not_push_each_other_off_the_front() -> None:
    same = [a_point(3, 0.5, 0.2)] * 2
    assert [point.on_front for point in marked([*same, a_point(2, 0.4, 0.2)])] == [True, True, True]
    assert [point.on_front for point in marked([*same, a_point(2, 0.5, 0.2)])] == [False, False, True]
