"""JUnit: valid XML with the right failures, skips and counts."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from brittle.report.junit import junit_xml
from brittle.report.rule import pair_word
from brittle.results.audit import Check
from tests.made_audits import made_audit, made_audits


def test_cases_follow_the_rule() -> None:
    root = ElementTree.fromstring(junit_xml(made_audits()).encode())
    assert [suite.get("name", "").split()[1] for suite in root] == ["original", "low-rank", "neuron-pruned", "narrow"]
    for suite, audit in zip(root, made_audits(), strict=True):
        pairs = audit.comparison.paired if audit.comparison else ()
        words = [pair_word(p, 2.0).text for p in pairs]
        cases = [case for case in suite.findall("testcase") if case.get("name", "").startswith("robust accuracy")]
        found = [
            "brittle"
            if c.find("failure") is not None
            else "undecided"
            if c.find("skipped") is not None
            else "not brittle"
            for c in cases
        ]
        assert found == words
        assert suite.get("failures") == str(words.count("brittle"))
        assert suite.get("skipped") == str(words.count("undecided"))
        assert suite.get("tests") == str(len(pairs) + len(audit.preflight) + len(audit.masking))


def test_messages_carry_the_numbers() -> None:
    root = ElementTree.fromstring(junit_xml([made_audit("low-rank"), made_audit("neuron-pruned")]).encode())
    failure = root.find(".//failure")
    skipped = root.find("testsuite[2]//skipped")
    assert failure is not None
    assert skipped is not None
    assert "95% interval" in failure.get("message", "")
    assert "tolerated 2.0" in failure.get("message", "")
    assert "samples would give ±1 point" in skipped.get("message", "")


def test_preflight_problems_fail_and_warnings_are_written() -> None:
    audit = replace(
        made_audit("narrow"),
        preflight=(Check("a", "problem", "fix"), Check("b", "warning", "look"), Check("c", "ok", "")),
    )
    suite = ElementTree.fromstring(junit_xml([audit]).encode())[0]
    assert suite.get("failures") == "1"
    assert suite.find("testcase[@name='a']/failure").get("message") == "fix"  # type: ignore[union-attr]
    assert suite.find("testcase[@name='b']/system-out").text == "warning: look"  # type: ignore[union-attr]
    assert len(suite.find("testcase[@name='c']")) == 0  # type: ignore[arg-type]


def test_any_name_gives_valid_xml() -> None:
    audit = made_audit("low-rank")
    name = "<&\"']]>\x00\x1b é \U0001f600"
    audit = replace(audit, model=replace(audit.model, name=name), preflight=(Check(name, "problem", name),))
    suite = ElementTree.fromstring(junit_xml([audit]).encode())[0]
    assert suite.get("name") == "brittle: <&\"']]>�� é \U0001f600 on digits"
    assert suite.find(".//failure[@type='preflight']") is not None


def test_no_audits_is_an_empty_file() -> None:
    assert len(ElementTree.fromstring(junit_xml([]).encode())) == 0


def test_signs_of_masked_gradients_are_cases_of_their_own() -> None:
    audit = replace(made_audit("narrow"), masking=(Check("m", "problem", "fix"), Check("w", "warning", "look")))
    suite = ElementTree.fromstring(junit_xml([audit]).encode())[0]
    assert suite.find("testcase[@name='m']/failure").get("type") == "masking"  # type: ignore[union-attr]
    assert suite.find("testcase[@name='w']").get("classname") == "masking.narrow"  # type: ignore[union-attr]
