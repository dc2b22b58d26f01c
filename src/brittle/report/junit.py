"""JUnit XML for CI: a suite for each audit, a case for each threat compared and each check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from brittle.report import format as fmt
from brittle.report.rule import BRITTLE, UNDECIDED, max_drop, pair_word
from brittle.results.audit import Audit, Check, Paired
from brittle.results.robustness import threat_key

# What XML 1.0 cannot hold, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(audits: Sequence[Audit]) -> str:
    """The audits as JUnit XML, UTF-8.

    A threat fails when the lower end of its paired interval exceeds the tolerated drop, and is skipped, with a message,
    when the interval leaves it undecided. A problem found by preflight, or a sign of masked gradients that is one,
    fails; a warning passes and is written to system-out.
    """
    root = ElementTree.Element("testsuites", name="brittle")
    for audit in audits:
        _suite(root, audit)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, audit: Audit) -> None:
    name = _clean(f"brittle: {audit.model.name} on {audit.data.name}")
    suite = ElementTree.SubElement(root, "testsuite", name=name)
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in (
        ("brittle", audit.brittle),
        ("seed", str(audit.seed)),
        ("samples", str(audit.data.samples)),
        ("sha256", audit.data.sha256),
        ("max_drop_points", f"{max_drop(audit):g}"),
        ("partial", str(audit.partial).lower()),
        ("command", audit.settings.command),
    ):
        ElementTree.SubElement(properties, "property", name=key, value=_clean(value))
    for pair in audit.comparison.paired if audit.comparison is not None else ():
        _threat_case(suite, audit, pair)
    for check in audit.preflight:
        _check_case(suite, "preflight", audit, check)
    for check in audit.masking:
        _check_case(suite, "masking", audit, check)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", "0")
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("time", f"{audit.settings.seconds:.3f}")


def _threat_case(suite: ElementTree.Element, audit: Audit, pair: Paired) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_clean(f"brittle.{audit.model.name}"),
        name=f"robust accuracy {threat_key(pair.norm, pair.epsilon)}",
        time="0",
    )
    tolerance = max_drop(audit)
    word = pair_word(pair, tolerance)
    numbers = (
        f"{fmt.threat(pair.norm, pair.epsilon)}: drop {fmt.points(pair.drop_points)} points, 95% interval "
        f"{fmt.points_interval(pair.interval95)}, n = {fmt.count(pair.n)}, tolerated {tolerance:.1f}"
    )
    if word == BRITTLE:
        failure = ElementTree.SubElement(case, "failure", type="brittle", message=numbers)
        failure.text = (
            f"Robust accuracy {fmt.percent(pair.base_robust)} -> {fmt.percent(pair.robust)}; clean drop "
            f"{fmt.points(pair.clean_drop_points)} points. Keep a larger fraction, or reach the size in another way."
        )
    elif word == UNDECIDED:
        message = f"undecided: {numbers}; {fmt.count(pair.samples_for_1_point)} samples would give ±1 point"
        ElementTree.SubElement(case, "skipped", message=message)
    else:
        ElementTree.SubElement(case, "system-out").text = numbers


def _check_case(suite: ElementTree.Element, kind: str, audit: Audit, check: Check) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=_clean(f"{kind}.{audit.model.name}"), name=_clean(check.check), time="0"
    )
    if check.verdict == "problem":
        ElementTree.SubElement(case, "failure", type=kind, message=_clean(check.advice))
    elif check.verdict == "warning":
        ElementTree.SubElement(case, "system-out").text = _clean(f"warning: {check.advice}")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
