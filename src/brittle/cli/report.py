"""`brittle report`: a saved audit as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brittle.errors import DataError


def report(
    results: Annotated[list[Path], typer.Argument(help="Audit JSON files; a base and its children make one page.")],
    html: Annotated[Path, typer.Option(help="Where to write the page.")],
) -> None:
    """Turn saved audits into one offline HTML page."""
    from brittle.files import check_writable
    from brittle.report.html import write_html
    from brittle.results.audit import Audit
    from brittle.results.serialise import read_json

    check_writable(html)
    audits = []
    for path in results:
        values = read_json(path)
        try:
            audits.append(Audit.from_dict(values))
        except DataError as error:
            raise DataError(f"{path}: {error}; expected a file written by `brittle audit --json`") from None
    write_html(html, audits, title=f"brittle: {audits[-1].model.name}")
    typer.echo(f"report: {html}", err=True)
