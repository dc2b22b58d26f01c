from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.errors import DataError, UsageError
from brittle.results.study import TrialRow
from brittle.studies.export import csv_text, frame, read_csv, write_csv, write_parquet
from brittle.studies.trial import DynamicsSource, RankSource, Trial

ROWS = (
    TrialRow("a1", Trial(data="1e3").model_dump(mode="json"), {"clean": 0.1 + 0.2, "robust.linf@0.05": 1.0}, 2.5),
    TrialRow("b2", Trial(source=RankSource(rank=3)).model_dump(mode="json"), {"clean": 0.5, "gap": -1e-300}, 0.25),
    TrialRow(
        "c3",
        Trial(source=DynamicsSource(setting="optimiser", value="sgd, plain\n")).model_dump(mode="json"),
        {},
        0.0,
    ),
    TrialRow("12e4", Trial().model_dump(mode="json"), {"clean": 0.25}, 1.0, "0007"),
)


def test_a_frame_has_the_same_columns_in_every_row() -> None:
    first, second, third, _ = frame(ROWS)
    assert list(first) == list(second) == list(third)
    names = list(first)
    assert names[:4] == ["key", "seconds", "code", "config.data"]
    assert names[-3:] == ["measure.clean", "measure.robust.linf@0.05", "measure.gap"]
    assert first["measure.clean"] == 0.1 + 0.2
    assert first["config.source.rank"] is None
    assert second["config.source.rank"] == 3
    assert third["measure.clean"] is None
    assert frame(()) == []


def without_none(config: object) -> object:
    if isinstance(config, dict):
        return {key: without_none(value) for key, value in config.items() if value is not None}
    return config


def test_csv_comes_back_without_loss(tmp_path: Path) -> None:
    back = read_csv(write_csv(ROWS, tmp_path / "trials.csv"))
    assert [(row.key, row.measures, row.seconds, row.code) for row in back] == [
        (row.key, row.measures, row.seconds, row.code) for row in ROWS
    ]
    assert [row.config for row in back] == [without_none(row.config) for row in ROWS]
    with open(tmp_path / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["measure.clean"]) == 0.1 + 0.2
    assert rows[1]["measure.robust.linf@0.05"] == ""
    assert rows[0]["config.hold_scale"] == "false"
    assert csv_text(()) == "key,seconds,code\n"


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00")).filter(lambda t: t[:1] not in ("[", "{")),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_value_keeps_its_type(tmp_path_factory: pytest.TempPathFactory, value: object, number: float) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    (back,) = read_csv(write_csv([TrialRow("k", {"value": value}, {"m": number}, 1.0)], path))
    assert back.config == {"value": value}
    assert type(back.config["value"]) is type(value)
    assert back.measures == {"m": number}
    assert math.copysign(1, back.measures["m"]) == math.copysign(1, number)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot read"):
        read_csv(tmp_path)
    (tmp_path / "cake.csv").write_text("flour,eggs\n1,2\n")
    with pytest.raises(DataError, match=r"holds no trials as CSV \(KeyError 'key'\)"):
        read_csv(tmp_path / "cake.csv")
    with pytest.raises(UsageError, match="cannot write"):
        write_csv(ROWS, tmp_path / "missing" / "trials.csv")


def test_without_pyarrow_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r'pip install "brittle\[parquet\]", or write CSV'):
        write_parquet(ROWS, tmp_path / "trials.parquet")


def test_parquet_holds_the_frame(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    mixed = TrialRow("d4", Trial(source=DynamicsSource(setting="batch_size", value=8)).model_dump(mode="json"), {}, 1.0)
    table = parquet.read_table(write_parquet([*ROWS, mixed], tmp_path / "t.parquet")).to_pylist()
    expected = frame([*ROWS, mixed])
    expected[3]["config.source.value"] = "8"  # beside text in one column
    assert table == expected
