"""Reference pages are complete: every option, every field, every public name."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest
from typer.main import get_command

import brittle
from brittle.attacks.table import ATTACKS, EFFORTS
from brittle.auditing.options import DEFAULT_EPSILON
from brittle.cli.app import app
from brittle.data.load import DATASETS
from brittle.models.options import known_options
from brittle.models.zoo import ZOO
from tests.docs.pages import ROOT, code_spans


def _page(path: str) -> str:
    return (ROOT / "docs" / path).read_text(encoding="utf-8")


def _section(text: str, heading: str) -> str:
    """From a heading of the second level to the next one."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def _options_listed(command: str) -> dict[str, str]:
    """The options in the command's table, with the first word of their default."""
    section = _section(_page("reference/cli.md"), f"brittle {command}")
    return dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([\w.]*)", section, flags=re.M))


@pytest.mark.parametrize("command", ["audit", "demo", "report"])
def test_every_option_is_on_the_page_and_no_other(command: str) -> None:
    options = {o for p in get_command(app).commands[command].params for o in p.opts if o.startswith("--")} - {"--help"}
    assert set(_options_listed(command)) == options


def test_every_command_is_on_the_page() -> None:
    headings = set(re.findall(r"^## brittle (\w+)$", _page("reference/cli.md"), flags=re.M))
    assert headings == set(get_command(app).commands)


def test_option_defaults_are_those_of_the_program() -> None:
    rows = _options_listed("audit")
    parameters = {p.opts[0]: p.default for p in get_command(app).commands["audit"].params if p.opts[0] in rows}
    checked = {o: str(d) for o, d in parameters.items() if d is not None}
    assert len(checked) > 5
    assert {option: rows[option] for option in checked} == checked


def test_default_radii() -> None:
    assert DEFAULT_EPSILON == {
        "grey": {"linf": (0.05, 0.1), "l2": (0.5,)},
        "colour": {"linf": (2 / 255, 8 / 255), "l2": (0.25, 0.5)},
    }, "docs/reference/cli.md says other default radii: change both"


def test_zoo_and_data_names() -> None:
    cli, data = _page("reference/cli.md"), _page("how-to/own-data.md")
    for architecture, function in ZOO.items():
        assert f"`{architecture}`" in cli
        row = re.search(rf"^\| `{architecture}` \| (.+) \|$", cli, flags=re.M)
        if row is not None:
            assert set(known_options(function)) <= set(re.findall(r"`(\w+)`", row[1])), architecture
    for dataset in DATASETS:
        assert f"`{dataset}" in data


def test_attacks_and_efforts() -> None:
    page = _page("concepts/attacks-and-intervals.md")
    for attack in set(ATTACKS) - {"fgsm"}:  # only looks for masked gradients, no effort runs it
        assert f"| `{attack}` |" in page
    for effort, cascade in EFFORTS.items():
        cost = sum(attack.cost for attack in cascade)
        assert re.search(rf"^\| `{effort}` \| .+ \| {cost} \|$", page, flags=re.M), f"{effort} costs {cost}"


@pytest.mark.parametrize("schema", ["audit-1", "summary-1"])
def test_every_field_is_explained(schema: str) -> None:
    tree = json.loads((files("brittle") / "schema" / f"{schema}.json").read_text(encoding="utf-8"))
    fields = set(tree["properties"])
    for record in tree.get("$defs", {}).values():
        fields |= set(record.get("properties", {}))
    spans = code_spans(ROOT / "docs/reference/audit-json.md")
    explained = set(re.findall(r"[a-z_0-9]+", " ".join(spans)))
    assert not fields - explained, f"docs/reference/audit-json.md does not explain {sorted(fields - explained)}"


def test_every_public_name_is_on_the_page() -> None:
    page = _page("reference/python.md")
    for public in set(brittle.__all__) - {"__version__"}:
        assert re.search(rf"\b{public}\b", page), public
