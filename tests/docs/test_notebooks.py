"""The notebooks run from their first cell to their last, in an empty folder, and are stored without outputs.

Cells are run as a notebook does, the last expression shown. No kernel is started: that would need Jupyter.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

NOTEBOOKS = tuple(sorted(ROOT.glob("docs/notebooks/*.ipynb")))


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def run_cell(source: str, where: str, scope: dict[str, object]) -> object:
    """Execute a cell; the value of its last expression, None where it ends with something else."""
    tree = ast.parse(source, where)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), scope)
    return None if last is None else eval(compile(ast.Expression(last.value), where, "eval"), scope)  # type: ignore[attr-defined]


def shown(values: list[object]) -> list[str]:
    return [value._repr_html_() for value in values if hasattr(value, "_repr_html_")]


def run(name: str) -> tuple[list[object], dict[str, object]]:
    path = ROOT / "docs/notebooks" / name
    scope: dict[str, object] = {"__name__": "__main__"}
    values = [run_cell("".join(c["source"]), f"{name}:{c['id']}", scope) for c in cells(path, "code")]
    return values, scope


def test_there_are_two_and_they_are_stored_clean() -> None:
    assert [path.name for path in NOTEBOOKS] == ["audit.ipynb", "compress.ipynb"]
    for path in NOTEBOOKS:
        book = json.loads(path.read_text(encoding="utf-8"))
        assert (book["nbformat"], book["nbformat_minor"] >= 5) == (4, True)
        ids = [cell["id"] for cell in book["cells"]]
        assert len(set(ids)) == len(ids)
        for cell in cells(path, "code"):
            assert (cell["outputs"], cell["execution_count"]) == ([], None), f"{path.name}:{cell['id']}"
        assert cells(path, "markdown")[0]["source"][0].startswith("# ")


def test_the_audit_runs_and_shows_its_verdict(empty_folder: Path) -> None:
    values, scope = run("audit.ipynb")
    audit = scope["audit"]
    word = {True: "brittle", False: "not brittle", None: "undecided"}[audit.verdict.brittle]  # type: ignore[attr-defined]
    assert f"<b>{word}</b>" in shown(values)[0]
    assert {"audit.html", "audit.json"} <= {path.name for path in empty_folder.iterdir()}


def test_the_compression_runs_and_its_file_is_the_same_net(empty_folder: Path) -> None:
    values, scope = run("compress.ipynb")
    assert len(shown(values)) == 2
    assert values[-1] is True
    parent, child = (scope["robust"].result.parent_size, scope["robust"].result.child_size)  # type: ignore[attr-defined]
    assert child.parameters == pytest.approx(parent.parameters / 4, rel=0.04)
