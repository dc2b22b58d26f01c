"""SARIF: the structure that the standard asks for (OASIS, SARIF 2.1.0), and findings that follow the verdict's rule."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from brittle.report.sarif import sarif_json
from brittle.report.sarif_results import LAYERS_NAMED, model_uri
from brittle.report.sarif_rules import RULES
from brittle.results.audit import Audit, Check
from tests.made_audits import made_audit, made_audits, made_children

# 3.27.9 and 3.27.10: the values of `kind` and `level`.
KINDS = {"notApplicable", "pass", "fail", "review", "open", "informational"}
LEVELS = {"none", "note", "warning", "error"}
# 3.13 to 3.49: the properties that each object must have, and those that it may.
OBJECTS: dict[str, tuple[set[str], set[str]]] = {
    "log": ({"version", "runs"}, {"$schema", "inlineExternalProperties", "properties"}),
    "run": ({"tool"}, {"columnKind", "invocations", "results", "properties", "artifacts", "automationDetails"}),
    "driver": ({"name"}, {"version", "semanticVersion", "informationUri", "rules", "properties"}),
    "rule": (
        {"id"},
        {"name", "shortDescription", "fullDescription", "help", "helpUri", "defaultConfiguration", "properties"},
    ),
    "result": ({"message"}, {"ruleId", "ruleIndex", "kind", "level", "locations", "partialFingerprints", "properties"}),
    "location": (set(), {"physicalLocation", "logicalLocations", "message", "properties"}),
    "invocation": ({"executionSuccessful"}, {"commandLine", "toolExecutionNotifications", "properties"}),
    "message": ({"text"}, {"markdown"}),
}


def check(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    must, may = OBJECTS[kind]
    assert must <= set(value) <= must | may, (kind, set(value))
    return value


def run_of(audits: tuple[Audit, ...]) -> dict[str, Any]:
    """The only run of a log, every object in it checked."""
    log = check("log", json.loads(sarif_json(audits)))
    assert log["version"] == "2.1.0"
    (run,) = (check("run", run) for run in log["runs"])
    rules = [check("rule", rule) for rule in check("driver", run["tool"]["driver"])["rules"]]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert re.fullmatch(r"(?:[A-Z][a-z]+)+", rule["name"])  # 3.49.7: Pascal case
        assert rule["defaultConfiguration"]["level"] in LEVELS
        assert all(check("message", rule[part])["text"] for part in ("shortDescription", "fullDescription", "help"))
    for result in run["results"]:
        check("result", result)
        assert check("message", result["message"])["text"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]  # 3.27.6
        assert result["kind"] in KINDS
        assert result["level"] in LEVELS
        assert result["kind"] == "fail" or result["level"] == "none"  # 3.27.10
        (location,) = (check("location", one) for one in result["locations"])
        place = location["physicalLocation"]
        assert re.fullmatch(r"[A-Za-z0-9_.~:/%-]+", place["artifactLocation"]["uri"])  # RFC 3986
        assert place["region"]["startLine"] >= 1
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
    for invocation in run["invocations"]:
        check("invocation", invocation)
    return run


def of(run: dict[str, Any], rule: str) -> list[dict[str, Any]]:
    return [result for result in run["results"] if result["ruleId"] == f"brittle/{rule}"]


def test_threats_follow_the_rule() -> None:
    for audit in made_children():
        assert audit.comparison is not None
        expected = []
        for pair in audit.comparison.paired:  # the rule of the interface, written again
            low, high = pair.interval95
            if low > 2.0:
                expected.append(("fail", "error", pair.norm, pair.epsilon))
            elif high >= 2.0:
                expected.append(("open", "none", pair.norm, pair.epsilon))
        found = of(run_of((audit,)), "robust-accuracy-drop")
        assert [(r["kind"], r["level"], r["properties"]["norm"], r["properties"]["epsilon"]) for r in found] == expected
        for result in found:
            low, high = result["properties"]["interval95"]
            assert low <= result["properties"]["dropPoints"] <= high
            assert result["properties"]["status"] == "estimate"
            assert "95% interval" in result["message"]["text"]


def test_all_audits_are_one_run_with_distinct_fingerprints() -> None:
    run = run_of(made_audits())
    assert [i["properties"]["model"] for i in run["invocations"]] == [audit.model.name for audit in made_audits()]
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(prints) == len(set(prints)) > 5


def test_a_fingerprint_outlives_new_numbers() -> None:
    audit = made_audit("low-rank")
    assert audit.comparison is not None
    pairs = tuple(replace(p, drop_points=p.drop_points + 0.1) for p in audit.comparison.paired)
    again = replace(audit, seed=7, comparison=replace(audit.comparison, paired=pairs))
    before, after = (of(run_of((one,)), "robust-accuracy-drop") for one in (audit, again))
    assert [r["message"] for r in before] != [r["message"] for r in after]
    assert [r["partialFingerprints"] for r in before] == [r["partialFingerprints"] for r in after]


def test_layers_that_grew_most_are_named_where_the_net_is_brittle() -> None:
    audit = made_audit("low-rank")
    assert audit.comparison is not None
    found = of(run_of((audit,)), "layer-norm-growth")
    for norm in {p.norm for p in audit.comparison.paired if p.interval95[0] > 2.0}:
        grown = {c.layer: c.log_scale + getattr(c, f"log_structure_{norm}") for c in audit.comparison.attribution}
        largest = [name for name in sorted(grown, key=lambda n: -grown[n]) if grown[name] > 0.01][:LAYERS_NAMED]
        sign = {"linf": "ℓ∞", "l2": "ℓ₂"}[norm]
        names = [
            r["locations"][0]["logicalLocations"][0]["name"]
            for r in found
            if f"its {sign} norm" in r["message"]["text"]
        ]
        assert names == largest
    assert found


def test_a_net_with_nothing_to_object_to_gives_no_result() -> None:
    audit = replace(made_audit("narrow"), preflight=(Check("pixels in [0, 1]", "ok", ""),))
    assert run_of((audit,))["results"] == []


def test_checks_keep_their_weight() -> None:
    checks = (Check("a", "problem", "fix"), Check("b", "warning", "look"), Check("c", "ok", ""))
    audit = replace(made_audit("narrow"), preflight=checks, masking=checks)
    run = run_of((audit,))
    for rule in ("preflight", "masked-gradients"):
        assert [(r["kind"], r["level"]) for r in of(run, rule)] == [("fail", "error"), ("fail", "warning")]
        assert of(run, rule)[0]["message"]["text"] == "narrow, a: fix"


def test_a_profile_has_no_verdict_and_a_partial_audit_says_so() -> None:
    audit = replace(made_audit("original"), partial=True)
    run = run_of((audit,))
    assert of(run, "robust-accuracy-drop") == []
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "time limit" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_no_audits_is_a_run_without_results() -> None:
    run = run_of(())
    assert (run["results"], run["invocations"]) == ([], [])
    assert len(run["tool"]["driver"]["rules"]) == len(RULES)


@pytest.mark.parametrize("name", ["out/a b.safetensors", "zoo:mlp?width=8&depth=2", "é#%.pth", "C:\\nets\\a.pth"])
def test_a_name_is_a_relative_uri_that_reads_back(name: str) -> None:
    uri = model_uri(name)
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert unquote(uri) == name.replace("\\", "/")


def test_absolute_and_empty_names_are_uris_too() -> None:
    assert model_uri("/nets/a.pth") == "file:///nets/a.pth"
    assert model_uri("") == "model"


def test_a_name_that_is_no_text_leaves_a_file_that_is() -> None:
    audit = made_audit("low-rank")
    audit = replace(audit, model=replace(audit.model, name="net\x00\udcff"), partial=True)
    json.dumps(run_of((audit,)), ensure_ascii=False).encode()  # a lone surrogate would raise
