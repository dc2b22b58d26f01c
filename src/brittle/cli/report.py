"""`brittle report`: a saved result as a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from brittle.errors import DataError, UsageError


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="Audit JSON files, a base and its children for one page; or one JSON of another command: compression, "
            "training, attack, structure, study."
        ),
    ],
    html: Annotated[Path, typer.Option(help="Where to write the page.")],
) -> None:
    """Turn a saved result into one offline HTML page."""
    from brittle.files import check_writable
    from brittle.results.serialise import read_json

    check_writable(html)
    values = [read_json(path) for path in results]
    kinds = [_KINDS.get(str(one.get("schema")), _audits) for one in values]
    if len(results) > 1 and any(kind is not _audits for kind in kinds):
        path = next(path for path, kind in zip(results, kinds, strict=True) if kind is not _audits)
        raise UsageError(f"{path} is no audit: only audits share a page, give each other result alone")
    try:
        kinds[0](results, values, html)
    except DataError as error:
        raise DataError(f"{error}; expected a file written by brittle with --json") from None
    typer.echo(f"report: {html}", err=True)


def _audits(paths: list[Path], values: list[dict[str, Any]], html: Path) -> None:
    from brittle.report.html import write_html
    from brittle.results.audit import Audit

    audits = [_read(path, one, Audit.from_dict) for path, one in zip(paths, values, strict=True)]
    write_html(html, audits, title=f"brittle: {audits[-1].model.name}")


def _compression(paths: list[Path], values: list[dict[str, Any]], html: Path) -> None:
    from brittle.report.compression_page import write_compression_html
    from brittle.results.compression import CompressionResult

    result = _read(paths[0], values[0], CompressionResult.from_dict)
    write_compression_html(html, result, title=f"brittle: {result.parent.name} → {result.child.name}")


def _training(paths: list[Path], values: list[dict[str, Any]], html: Path) -> None:
    from brittle.report.training_page import write_training_html
    from brittle.results.serialise import from_dict
    from brittle.results.training import TrainingHistory

    history = _read(paths[0], values[0], lambda one: from_dict(TrainingHistory, one))
    # the record names its samples by their hash alone
    data = f"training samples {history.train.sha256[:12]}"
    write_training_html(html, history, title=f"brittle: {paths[0].name}", data=data, command="")


def _attack(paths: list[Path], values: list[dict[str, Any]], html: Path) -> None:
    from brittle.report.attack_page import write_attack_html
    from brittle.results.attack import AttackResult

    result = _read(paths[0], values[0], AttackResult.from_dict)
    write_attack_html(html, result, title=f"brittle: {result.model.name}")


def _structure(paths: list[Path], values: list[dict[str, Any]], html: Path) -> None:
    from brittle.report.structure_page import write_structure_html
    from brittle.results.structure import StructureAudit

    result = _read(paths[0], values[0], StructureAudit.from_dict)
    write_structure_html(html, result, title=f"brittle: {result.checkpoint.name}")


def _study(paths: list[Path], values: list[dict[str, Any]], html: Path) -> None:
    from brittle.report.study_page import write_study_html
    from brittle.results.serialise import from_dict
    from brittle.results.study import StudyResult

    result = _read(paths[0], values[0], lambda one: from_dict(StudyResult, one))
    write_study_html(html, result, title=f"brittle: {result.name}")


# What a document's schema says it is; everything else is taken for an audit, which says what is wrong with it.
_KINDS: dict[str, Callable[[list[Path], list[dict[str, Any]], Path], None]] = {
    "brittle.audit/1": _audits,
    "brittle.compression/1": _compression,
    "brittle.training/1": _training,
    "brittle.attack/1": _attack,
    "brittle.structure/1": _structure,
    "brittle.study/1": _study,
}


def _read(path: Path, values: dict[str, Any], read: Callable[[dict[str, Any]], Any]) -> Any:
    try:
        return read(values)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
