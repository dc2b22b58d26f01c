"""The benchmark of docs/results/streaming.md on a tiny model: made, killed, resumed, removed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from benchmarks.streaming import SIZES, numbers, run


@pytest.mark.slow
def test_a_tiny_model(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.q_proj"
    text = run("tiny", tmp_path, 1, [name])
    assert "| Kept matrices untouched by the second run | yes |" in text
    assert f"| Numbers | {numbers(SIZES['tiny']):,} |" in text
    assert len(re.findall(rf"\| {re.escape(name)} .* \| yes \|", text)) == 3
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_what_they_are_called() -> None:
    assert [round(numbers(SIZES[name]) / 1e9, 1) for name in ("1b", "3b", "7b")] == [1.4, 3.4, 6.7]


def test_too_little_disk_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 10**9})())
    with pytest.raises(SystemExit, match=r"7b needs .* GiB in .*, 0.9 GiB are free: use less"):
        run("7b", tmp_path, 1, [])
    assert list(tmp_path.iterdir()) == []
