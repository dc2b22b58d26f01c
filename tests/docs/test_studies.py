"""The pages on studies are complete: every option, every field of the record, every source and measure."""

from __future__ import annotations

import re
from typing import get_args

from typer.main import get_command

from brittle.cli.app import app
from brittle.results.serialise import json_schema
from brittle.results.study import Outcome, StudyResult
from brittle.studies.making import SOURCES
from brittle.studies.measures.table import MEASURES
from brittle.studies.trial import Training, Trial
from tests.docs.pages import ROOT, code_spans

HOW_TO, REFERENCE, COMMANDS = (
    ROOT / "docs" / page for page in ("how-to/study.md", "reference/study-json.md", "reference/cli.md")
)


def explained(page: str) -> set[str]:
    return set(re.findall(r"[a-z_0-9]+", " ".join(code_spans(ROOT / "docs" / page))))


def test_every_field_of_the_record_is_explained() -> None:
    tree = json_schema(StudyResult)
    fields = set(tree["properties"]).union(*(record["properties"] for record in tree["$defs"].values()))
    assert not fields - explained("reference/study-json.md")
    text = REFERENCE.read_text(encoding="utf-8")
    assert all(f"`{outcome}`" in text for outcome in get_args(Outcome))


def test_every_command_and_option_is_in_the_reference() -> None:
    section = COMMANDS.read_text(encoding="utf-8").split("\n## brittle study\n")[1].split("\n## ")[0]
    commands = get_command(app).commands["study"].commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        assert f"brittle study {name}" in section
        options = {o for p in command.params for o in p.opts if o.startswith("--")} - {"--help"}
        assert not [option for option in options if f"`{option}`" not in section]
    rows = dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([\w.]*)", section, flags=re.M))
    assert set(rows) == {o for p in commands["run"].params for o in p.opts if o.startswith("--")} - {"--help"}
    assert rows["--preset"] == "quick"
    assert rows["--workers"] == "1"


def test_everything_that_can_be_varied_is_listed() -> None:
    words = explained("how-to/study.md") | {"post-hoc"} & set(HOW_TO.read_text(encoding="utf-8").split("`"))
    wanted = {*Trial.model_fields, *Training.model_fields, *MEASURES, *SOURCES}
    assert not wanted - words
