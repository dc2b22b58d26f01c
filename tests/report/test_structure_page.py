"""The structure report: every number with its status, tables that stay small, a page that loads nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from brittle.errors import UsageError
from brittle.report import structure_rows
from brittle.report.embed import static
from brittle.report.structure_page import render_structure, write_structure_html
from brittle.report.structure_plots import QUANTITIES, kinds, structure_figures
from brittle.report.structure_rows import measured_share, noted, rank_share, shown_rows
from brittle.report.structure_terminal import structure_table
from brittle.report.structure_unmeasured import unmeasured_groups
from brittle.results.layer import Neuron, Unmeasured
from brittle.results.structure import (
    STRUCTURE_SCHEMA,
    CheckpointInfo,
    MatrixChange,
    MatrixStructure,
    Quantity,
    Spectrum,
    StructureAudit,
    StructureComparison,
    StructureSettings,
)

NEURON = Neuron(1, 20, 0.873, 0.2, 0.1, 0.05, 0.91)


def matrix(name: str, rank: float = 61.7, *, exact: bool = False) -> MatrixStructure:
    def number(value: float, status: str) -> Quantity:
        return Quantity(value, "exact") if exact else Quantity(value, status, (0.98 * value, 1.01 * value))  # type: ignore[arg-type]

    spectrum = Spectrum(
        method="all values" if exact else "random probes",
        k=10,
        sigma_max=number(12.34, "lower_bound"),
        effective_rank=number(rank, "estimate"),
        stable_rank=number(23.45, "upper_bound"),
        epsilon=number(0.713, "estimate"),
        pq_index=number(0.2, "estimate"),
        beta=0.5 if exact else None,
        beta_mean=0.4 if exact else None,
        rank_at_5pct=70 if exact else None,
    )
    return MatrixStructure(
        name, f"{name}.weight", "f.safetensors", "BF16", (200, 100), 20_000, 56.78, NEURON, spectrum, (), ()
    )


def made(*rows: MatrixStructure) -> StructureAudit:
    rows = rows or tuple(
        matrix(f"layers.{i}.{part}", 50 + i, exact=part == "up") for i in range(4) for part in ("up", "<b>down")
    )
    return StructureAudit(
        schema=STRUCTURE_SCHEMA,
        brittle="0.1.0",
        seed=7,
        checkpoint=CheckpointInfo("net", 3, 5 * 2**30, 17, 8 * 20_000 + 40_000),
        matrices=rows,
        unmeasured=(Unmeasured("layers.0.norm", (4,), "a vector"), Unmeasured("layers.1.norm", (4,), "a vector")),
        settings=StructureSettings("brittle audit net", 0.1, 2048, 10, 40, 2, "2.13.0", 3 * 2**30, 75.0),
    )


def with_changes() -> StructureAudit:
    def change(name: str, scale: float | None, epsilon: float) -> MatrixChange:
        structure = None if scale is None else Quantity(scale / 2, "estimate", (scale / 2 - 0.01, scale / 2 + 0.01))
        rank = Quantity(epsilon / 2, "exact")
        return MatrixChange(
            name, (200, 100), (200, 90 if scale else 100), scale, structure, rank, Quantity(epsilon, "exact")
        )

    changes = (change("layers.2.up", 0.693, -0.123), change("zeroed", None, -0.2), change("same", 0.0, 0.0))
    return replace(
        made(), comparison=StructureComparison(CheckpointInfo("base", 1, 1, 1, 1), changes, ("gone",), "A caution.")
    )


def text(page: str) -> str:
    page = re.sub(r"<style>.*?</style>|<script.*?</script>", "", page, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ").split())


def on_terminal(audit: StructureAudit) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(structure_table(audit))
    assert isinstance(console.file, StringIO)
    return " ".join(console.file.getvalue().split())


def test_numbers_carry_their_status_and_interval() -> None:
    words, shown = text(render_structure(made(), title="net")), on_terminal(made())
    for part in ("≈ 50.0%", "≈ 71.3%", " 50.0%", "56.78", "87.3%"):
        assert part in words, part
        assert part in shown, part
    for part in ("≤ 23.45", "≥ 12.34", " 23.45"):
        assert part in words, part
    assert "≈ 50.0% [49.0, 50.5]" in words
    assert "[22.98, 23.68]" in words
    assert "≈ 56.78" not in words  # exact numbers stand without a sign


def test_the_page_says_what_it_is_and_how_it_was_made() -> None:
    words = text(render_structure(made(), title="a <title>"))
    for part in (
        "8 matrices measured: 80.0% of the numbers in net",
        "nothing was attacked, so this page says nothing about robustness",
        "a <title>", "seed 7", "brittle audit net", "3.0 GiB", "10 random probes, 40 products each", "1 min 15 s",
        "5.0 GiB", "4 of 8", "layers.0.<b>down", "a vector", "layers.#.norm (2)",
    ):  # fmt: skip
        assert part in words, part
    assert "Changes" not in words
    assert "<b>down" not in render_structure(made(), title="x")
    assert "Stopped at the time limit" in text(render_structure(replace(made(), partial=True), title="x"))


def test_changes_are_shown_and_unchanged_matrices_counted() -> None:
    words, shown = text(render_structure(with_changes(), title="x")), on_terminal(with_changes())
    for part in ("Changes from base", "200 × 100 → 200 × 90", "+0.69", "≈ +0.35", "−12.3", "−6.2"):
        assert part in words, part
        assert part.removeprefix("Changes ") in shown, part
    assert "≈ +0.35 [+0.34, +0.36]" in words
    assert "A caution." in words
    assert "left out here: 1 of 3" in words
    assert "Only in one of the two: gone." in words
    assert "zeroed 200 × 100 – –" in words
    same = replace(with_changes().comparison, changes=with_changes().comparison.changes[2:])  # type: ignore[type-var,union-attr]
    assert "No matrix changed in any number" in text(render_structure(replace(made(), comparison=same), title="x"))


def test_the_page_loads_nothing_and_sorts_by_numbers() -> None:
    page = render_structure(made(), title="x")
    bare = page.replace(str(static("plotly-cartesian.min.js")), "").replace(str(static("report.js")), "")
    assert not re.search(r"(src|href)=[\"'](?!#)|url\(|@import", bare)
    assert 'data-v="0.5"' in page
    assert 'data-v="0.713"' in page
    assert page.count('aria-sort="none"') == 9


def test_one_line_for_each_kind_over_depth_with_intervals() -> None:
    shown, left_out = kinds(made().matrices)
    assert [kind.line.name for kind in shown] == ["up", "<b>down"]
    assert left_out == 0
    figures = structure_figures(shown)
    assert set(figures) == {f"depth-{quantity.key}" for quantity in QUANTITIES}
    exact, estimated = figures["depth-rank"]["traces"]
    assert estimated["x"] == [0, 1, 2, 3]
    assert estimated["y"] == [0.5, 0.51, 0.52, 0.53]
    assert estimated["error_y"]["arrayminus"] == pytest.approx([0.01, 0.0102, 0.0104, 0.0106])
    assert "error_y" not in exact
    assert "&lt;b&gt;down" in estimated["text"][0]
    assert [trace["y"][0] for trace in figures["depth-scale"]["traces"]] == [56.78, 56.78]
    json.dumps(figures, allow_nan=False)


def test_kinds_are_limited_and_matrices_without_depth_are_not_drawn() -> None:
    rows = [matrix(f"layers.{i}.part{'abcdefghi'[j]}") for i in range(2) for j in range(9)]
    shown, left_out = kinds(rows)
    assert (len(shown), left_out) == (7, 2)
    assert kinds([matrix("embed"), matrix("layers.3.up")]) == ((), 0)
    assert structure_figures(()) == {}
    page = render_structure(made(matrix("embed")), title="x")
    assert "Structure over depth" not in page
    expert = kinds([matrix(f"layers.{i}.experts.{j}.up") for i in range(2) for j in range(2)])[0]
    assert structure_figures(expert)["depth-rank"]["traces"][0]["mode"] == "markers"


def test_many_matrices_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure_rows, "MAX_ROWS", 3)
    audit = made()
    assert [rank_share(row).value for row in shown_rows(audit)] == [0.5, 0.5, 0.51]
    assert "The 3 matrices with the lowest effective rank for their size; the JSON holds all 8" in text(
        render_structure(audit, title="x")
    )


def test_an_audit_that_reached_nothing_still_makes_a_page() -> None:
    empty = replace(made(), matrices=(), partial=True)
    assert "0 matrices measured: 0.0%" in text(render_structure(empty, title="x"))
    assert "0 matrices measured" in on_terminal(empty)


def test_tied_tensors_and_notes() -> None:
    row = replace(matrix("embed"), same_as=("head.weight",), notes=("a note",))
    audit = replace(made(row), checkpoint=CheckpointInfo("net", 1, 1, 2, 40_000))
    assert measured_share(audit) == 1.0
    assert noted(audit.matrices) == [
        ("a note", ["embed"]),
        ("holds the same numbers as other tensors, measured once", ["embed (head.weight)"]),
    ]
    words = text(render_structure(audit, title="x"))
    assert "a note: embed" in words
    assert "embed (head.weight)" in words


def test_reasons_are_grouped() -> None:
    rows = [Unmeasured(f"layers.{i}.norm", (1,), "vector") for i in range(3)] + [Unmeasured("ids", (1,), "integers")]
    assert [(g.why, g.count, g.names) for g in unmeasured_groups(rows)] == [
        ("vector", 3, "layers.#.norm (3)"),
        ("integers", 1, "ids"),
    ]
    many = [Unmeasured(f"{'abcdefghijklmnop'[i]}.w", (1,), "vector") for i in range(16)]
    assert unmeasured_groups(many)[0].names.endswith(", …")


def test_the_file_is_written_or_refused(tmp_path: Path) -> None:
    place = write_structure_html(tmp_path / "r.html", made(), title="x")
    assert place.read_text(encoding="utf-8") == render_structure(made(), title="x")
    with pytest.raises(UsageError, match="choose a folder that exists and is writable"):
        write_structure_html(tmp_path / "no" / "r.html", made(), title="x")
