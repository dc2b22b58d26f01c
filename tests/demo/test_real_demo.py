"""The demo as people run it, with its real budgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from brittle.demo.run import run_demo


@pytest.mark.slow
def test_the_real_demo_trains_good_nets_of_one_size_and_reaches_verdicts(tmp_path: Path) -> None:
    result = run_demo(tmp_path, seed=0, seeds=1)
    original, *children = result.summary.nets
    assert [net.name for net in result.summary.nets] == ["original", "low-rank", "neuron-pruned", "narrow"]
    sizes = [net.parameters for net in children]
    assert max(sizes) <= 1.03 * min(sizes)
    assert max(sizes) < original.parameters / 3
    for net in result.summary.nets:
        assert net.clean > 0.93, "every net is fine-tuned until it works"
        for key, robust in net.robust.items():
            assert net.certified[key] <= robust <= net.clean
    for net in children:
        for key, drop in net.drop_points.items():
            low, high = net.interval95[key]
            assert low <= drop <= high
    assert {net.verdict for net in children} <= {"brittle", "not brittle", "undecided"}
    assert result.report.stat().st_size < 3_000_000
