"""Records to JSON and back, and the JSON that is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.errors import DataError
from brittle.results.audit import Audit
from brittle.results.layer import NormBound
from brittle.results.serialise import dumps, from_dict, read_json, to_dict
from brittle.results.summary import SUMMARY_SCHEMA, NetSummary, Summary
from tests.made_audits import made_audit, made_audits
from tests.small_nets import quick_audit


@pytest.mark.parametrize("audit", [*made_audits(), "trained"], ids=lambda a: a if isinstance(a, str) else a.model.name)
def test_an_audit_survives_the_round_trip_through_text(audit: Audit | str) -> None:
    record = quick_audit(audit) if isinstance(audit, str) else audit
    assert Audit.from_dict(record.to_dict()) == record
    assert Audit.from_dict(json.loads(dumps(record))) == record
    assert list(record.to_dict()) == [field.name for field in fields(Audit)]


def test_a_summary_survives_the_round_trip() -> None:
    net = NetSummary(
        "narrow", "m", 9, 0.9, {"linf@0.1": 0.5}, {"linf@0.1": 0.1}, {"clean": 1.5}, {"clean": (0.5, 2.5)}, "?"
    )
    summary = Summary(SUMMARY_SCHEMA, (net,), "report.html", 540, (0, 1))
    assert from_dict(Summary, json.loads(dumps(summary))) == summary


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(1e-300, 1e300))
def test_every_float_survives_bit_for_bit(lower: float, bound: float) -> None:
    norm = NormBound(bound, "upper_bound", lower)
    assert from_dict(NormBound, json.loads(dumps(norm))) == norm


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(NormBound(number, "exact", 0.0))


def test_fields_of_a_later_minor_version_are_ignored() -> None:
    values = made_audit("low-rank").to_dict()
    assert Audit.from_dict({**values, "added_later": 1}) == made_audit("low-rank")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "many"}, "not a valid Audit record: field 'seed': "),
        ({"schema": "brittle.audit/2"}, "field 'schema': .*brittle.audit/1"),
        ({"layers": [{}]}, r"field 'layers\.0\.name': Field required"),
    ],
)
def test_the_first_field_that_does_not_fit_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Audit.from_dict({**made_audit("original").to_dict(), **change})
    missing = made_audit("original").to_dict()
    del missing["outcomes"]
    with pytest.raises(DataError, match="field 'outcomes': Field required"):
        Audit.from_dict(missing)


def test_keys_keep_their_order_and_text_its_letters(tmp_path: Path) -> None:
    audit = made_audit("original")
    named = replace(audit, model=replace(audit.model, name="naïve ℓ∞"))
    (tmp_path / "a.json").write_text(dumps(named), encoding="utf-8")
    assert to_dict(Audit.from_dict(read_json(tmp_path / "a.json"))) == to_dict(named)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is not a JSON file \(.*\); expected one written by"),
        (b'{"a": ', "is not a JSON file"),
        (b"\xff\xfe", "is not a JSON file"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b"[" * 100_000, "is not a JSON file"),
        (b"[1, 2]", "holds a list, expected an object"),
    ],
)
def test_files_that_hold_no_json_object_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    place = tmp_path / "a.json"
    place.write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        read_json(place)
    assert "\n" not in str(refused.value)


def test_files_that_are_not_there_or_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file: .*; expected a JSON file written by `brittle audit --json`"):
        read_json(tmp_path / "no.json")
    for place in (tmp_path, Path("/dev/null/a.json")):
        with pytest.raises(DataError, match=r"cannot read .* \(.*\): give a JSON file that can be read"):
            read_json(place)
