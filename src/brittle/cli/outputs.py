"""Where an audit command writes its results: checked before the work, written after it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from brittle.errors import UsageError
from brittle.files import check_folder, check_writable, make_folder, write_text
from brittle.results.audit import Audit

STDOUT = Path("-")


@dataclass(frozen=True)
class Outputs:
    """Files asked for; `json` is a folder where there are several children, or "-" for stdout."""

    html: Path | None
    json: Path | None
    junit: Path | None
    sarif: Path | None = None

    def check(self, children: int) -> None:
        """Refuse places that could not be written.

        Raises:
            UsageError: a folder that is missing, no plain file, one file for two results, or several audits on stdout.
        """
        files = [place for place in (self.html, self.junit, self.sarif) if place is not None]
        if self.json == STDOUT:
            if children > 1:
                raise UsageError("several audits do not fit one stdout: give --json a folder")
        elif self.json is not None and children > 1:
            check_folder(self.json)
        elif self.json is not None:
            files.append(self.json)
        for place in files:
            check_writable(place)
        if len({place.resolve() for place in files}) < len(files):
            raise UsageError(
                "two results would go to one file: give --html, --json, --junit and --sarif different names"
            )

    def write(self, audits: Sequence[Audit], children: Sequence[Audit], console: Console) -> None:
        """Write everything asked for, numbers before pages; `audits` holds the base and the children."""
        from brittle.report.html import write_html
        from brittle.report.junit import junit_xml
        from brittle.report.sarif import sarif_json
        from brittle.results.serialise import dumps

        if self.json == STDOUT:
            sys.stdout.write(dumps(children[0]))
            sys.stdout.flush()
        elif self.json is not None and len(children) > 1:
            folder = make_folder(self.json)
            for i, child in enumerate(children):
                write_text(folder / f"audit-{i}.json", dumps(child))
        elif self.json is not None:
            write_text(self.json, dumps(children[0]))
        if self.junit is not None:
            write_text(self.junit, junit_xml(children))
        if self.sarif is not None:
            write_text(self.sarif, sarif_json(children))
        if self.html is not None:
            write_html(self.html, audits, title=f"brittle: {children[-1].model.name}")
            console.print(f"report: {self.html}", markup=False)
