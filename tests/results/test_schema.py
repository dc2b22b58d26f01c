"""The published JSON Schemas describe the records, and the interface that people rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from brittle.results.schema import FOLDER, PUBLISHED, published_schema, write_schemas
from brittle.results.serialise import to_dict
from brittle.results.summary import SUMMARY_SCHEMA, NetSummary, Summary
from tests.made_audits import made_audits
from tests.small_nets import quick_audit


def schema(file: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))
    return values


def check(values: dict[str, Any], file: str) -> None:
    jsonschema.Draft202012Validator(schema(file)).validate(values)


@pytest.mark.parametrize(("file", "name", "record"), PUBLISHED)
def test_the_published_files_agree_with_the_records(file: str, name: str, record: type) -> None:
    assert schema(file) == published_schema(file, name, record), "run python -m brittle.results.schema"


@pytest.mark.parametrize(("file", "name", "record"), PUBLISHED)
def test_a_schema_says_its_dialect_its_name_and_the_version_policy(file: str, name: str, record: type) -> None:
    values = schema(file)
    jsonschema.Draft202012Validator.check_schema(values)
    assert values["title"] == name
    assert "within one major number" in values["description"]
    assert "fields are only added" in values["description"]
    assert values["properties"]["schema"]["const"] == name


def test_the_script_writes_what_is_published(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    written = {place.name: place.read_text() for place in tmp_path.iterdir()}
    assert written == {place.name: place.read_text() for place in FOLDER.iterdir()}


def test_audits_are_valid_and_broken_ones_are_not() -> None:
    for audit in (*made_audits(), quick_audit("trained")):
        check(audit.to_dict(), "audit-1")
    values = made_audits()[1].to_dict()
    check({**values, "added_later": 1}, "audit-1")  # a later minor version
    for broken in ({**values, "schema": "brittle.audit/2"}, {**values, "seed": "0"}, {**values, "verdict": {}}):
        with pytest.raises(jsonschema.ValidationError):
            check(broken, "audit-1")


def test_summaries_are_valid() -> None:
    net = NetSummary(
        "narrow", "m", 9, 0.9, {"linf@0.1": 0.5}, {"linf@0.1": 0.1}, {"clean": 1.5}, {"clean": (0.5, 2.5)}, "?"
    )
    values = to_dict(Summary(SUMMARY_SCHEMA, (net,), "report.html", 540, (0,)))
    check(values, "summary-1")
    with pytest.raises(jsonschema.ValidationError):
        check({**values, "nets": [{}]}, "summary-1")


# What the interface promises, written down by hand: names only, a list for "a list of these".
INTERFACE: dict[str, Any] = {
    "schema": 0, "brittle": 0, "seed": 0, "partial": 0,
    "model": {"name": 0, "parameters": 0, "recipe": 0},
    "data": {"name": 0, "split": 0, "samples": 0, "sha256": 0},
    "preflight": [{"check": 0, "verdict": 0, "advice": 0}],
    "layers": [{
        "name": 0, "kind": 0, "shape": 0, "parameters": 0, "frobenius": 0,
        "neuron": {"q": 0, "k": 0, "epsilon": 0, "beta": 0, "pq_index": 0, "keep_at_5pct": 0},
        "spectral": {
            "q": 0, "k": 0, "epsilon": 0, "beta": 0, "effective_rank": 0, "stable_rank": 0, "rank_at_5pct": 0,
        },
        "norms": {"linf": {"value": 0, "status": 0, "lower": 0}, "l2": {"value": 0, "status": 0, "lower": 0}},
        "structure": {"linf": 0, "l2": 0}, "scale": 0,
    }],
    "unmeasured": [{"name": 0, "shape": 0, "why": 0}],
    "bounds": {
        norm: {"ladder": [{"rung": 0, "value": 0, "status": 0, "seconds": 0}], "best": 0} for norm in ("linf", "l2")
    },
    "robustness": [{
        "norm": 0, "epsilon": 0, "n": 0, "clean": 0, "certified": 0, "attacked": 0, "attack": 0, "interval95": 0,
    }],
    "universal": [{"norm": 0, "epsilon": 0, "fooling_rate": 0, "held_out": 0}],
    "directions": {},
    "explained": [{"map": 0, "norm": 0, "epsilon": 0, "curve": [{"m": 0, "damage": 0, "random_damage": 0}]}],
    "amplification": [{"layer": 0, "attacked": 0, "noise": 0}],
    "radii": [{"norm": 0, "attack": 0, "radii": 0, "quantiles": 0}],
    "comparison": {
        "base": 0,
        "paired": [{"norm": 0, "epsilon": 0, "drop_points": 0, "interval95": 0}],
        "attribution": [{"layer": 0, "log_scale": 0, "log_structure_linf": 0, "log_structure_l2": 0}],
    },
    "verdict": {"brittle": 0, "why": 0},
}  # fmt: skip


def assert_holds(value: Any, promised: Any, place: str) -> None:
    if isinstance(promised, list):
        assert isinstance(value, list), place
        for i, inner in enumerate(value):
            assert_holds(inner, promised[0], f"{place}[{i}]")
    elif isinstance(promised, dict):
        assert isinstance(value, dict), place
        assert promised.keys() <= value.keys(), place
        for key, inner in promised.items():
            assert_holds(value[key], inner, f"{place}.{key}")


def test_every_promised_field_is_there_under_its_name() -> None:
    made = made_audits()[1].to_dict()
    assert_holds(made, INTERFACE, "audit")
    fields = (
        "unmeasured", "universal", "preflight", "directions", "explained", "amplification", "landscapes", "probes",
        "radii", "weight_free", "masking",
    )  # fmt: skip
    for key in fields:
        assert made[key], "the made audit must show one of each"
    assert made["comparison"]["transfer"]
    assert made["comparison"]["weight_free"]
    real = quick_audit("trained").to_dict()
    assert_holds(
        real, {key: value for key, value in INTERFACE.items() if key not in ("comparison", "verdict")}, "audit"
    )


def test_shares_are_fractions_and_drops_are_points() -> None:
    real = quick_audit("trained").to_dict()
    for row in real["robustness"]:
        assert all(0 <= row[key] <= 1 for key in ("clean", "certified", "attacked", "noise"))
        assert all(0 <= end <= 1 for end in row["interval95"])
    statuses = {rung["status"] for ladder in real["bounds"].values() for rung in ladder["ladder"]}
    assert statuses <= {"exact", "upper_bound", "lower_bound", "estimate"}
