"""The folder of a run: trials, numbers, tables and the page, under fixed names."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from brittle.cli.outputs import STDOUT
from brittle.errors import DataError, UsageError
from brittle.files import check_folder, make_folder, write_text
from brittle.results.serialise import dumps, from_dict, read_json
from brittle.results.study import STUDY_SCHEMA, StudyResult

if TYPE_CHECKING:
    from brittle.studies.store import Failure

_ASKED_SCHEMA = "brittle.asked/1"


@dataclass(frozen=True)
class StudyFolder:
    """A folder and the names of what is in it."""

    path: Path

    @property
    def store(self) -> Path:
        """Trials, as they are finished."""
        return self.path / "trials.sqlite"

    @property
    def memory(self) -> Path:
        """What trials share; may be deleted."""
        return self.path / "shared"

    @property
    def numbers(self) -> Path:
        """The record."""
        return self.path / "study.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def asked(self) -> Path:
        """What was asked, for `report` after a kill."""
        return self.path / "asked.json"

    @property
    def tracebacks(self) -> Path:
        """Of failed trials."""
        return self.path / "failures.txt"

    def check(self, name: str) -> None:
        """Refuse a folder that cannot be written, or that holds another study.

        Raises:
            UsageError: with what to do.
        """
        check_folder(self.path)
        if self.asked.exists():
            held = self.read_asked().get("name")
            if held != name:
                raise UsageError(f"{self.path} holds the study {held}, not {name}: choose another folder with --out")

    def begin(self, name: str, question: dict[str, object]) -> None:
        """Make the folder and write down what is asked."""
        make_folder(self.path)
        text = json_text.dumps({"schema": _ASKED_SCHEMA, "name": name, **question}, indent=1)
        write_text(self.asked, text + "\n")

    def read_asked(self) -> dict[str, object]:
        """What `begin` wrote.

        Raises:
            DataError: nothing, or something else.
        """
        values = read_json(self.asked) if self.asked.exists() else {}
        if values.get("schema") != _ASKED_SCHEMA:
            raise DataError(f"{self.path} holds no run of a study: give the --out of brittle study run")
        return values

    def read(self) -> StudyResult:
        """The record.

        Raises:
            DataError: it is no such record.
        """
        values = read_json(self.numbers)
        if values.get("schema") != STUDY_SCHEMA:
            raise DataError(f"{self.numbers} is no {STUDY_SCHEMA}: expected a file written by brittle study run")
        return from_dict(StudyResult, values)

    def title(self, result: StudyResult) -> str:
        """Of the page."""
        return f"{result.name}, preset {result.preset}" if result.preset else result.name

    def write(self, result: StudyResult, failures: Sequence[Failure], json: Path | None) -> list[str]:
        """Numbers, tables, tracebacks and the page; returns a line for people on each.

        Raises:
            UsageError: a place that cannot be written.
        """
        from brittle.report.study_page import write_study_html
        from brittle.studies.export import write_csv, write_parquet

        make_folder(self.path)
        text = dumps(result)
        lines = [
            f"numbers: {write_text(self.numbers, text)}",
            f"trials: {write_csv(result.trials, self._table('csv'))}",
        ]
        if find_spec("pyarrow") is not None:
            lines.append(f"trials: {write_parquet(result.trials, self._table('parquet'))}")
        if failures:
            parts = [f"{one.key}, tried {one.tries} times\n{one.config}\n\n{one.traceback}" for one in failures]
            lines.append(f"failures: {write_text(self.tracebacks, (chr(10) * 2).join(parts))}")
        else:
            self.tracebacks.unlink(missing_ok=True)
        if json == STDOUT:
            sys.stdout.write(text)
            sys.stdout.flush()
        elif json is not None:
            lines.append(f"numbers: {write_text(json, text)}")
        lines.append(f"report: {write_study_html(self.report, result, title=self.title(result))}")
        return lines

    def _table(self, suffix: str) -> Path:
        return self.path / f"trials.{suffix}"
