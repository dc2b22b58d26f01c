"""The terminal shows the same verdict and numbers, fits 80 columns and takes names literally."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from brittle.report import format as fmt
from brittle.report.rule import BRITTLE
from brittle.report.tables import attribution_table, bracket_table, layer_table, verdict_text
from brittle.report.terminal import audit_table
from brittle.results.audit import Check
from tests.made_audits import made_audit


def shown(renderable: object, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_every_threat_is_there_within_80_columns() -> None:
    audit = made_audit("low-rank")
    text = shown(bracket_table(audit))
    assert audit.comparison is not None
    for r, p in zip(audit.robustness, audit.comparison.paired, strict=True):
        line = next(
            line for line in text.splitlines() if line.startswith(f"{fmt.norm(r.norm)} {fmt.epsilon(r.epsilon)} ")
        )
        for part in (fmt.percent(r.certified), fmt.percent(r.attacked), fmt.points_interval(p.interval95)):
            assert part in line
    assert "…" not in text
    assert "! brittle" in text
    assert "n = 500" in text


def test_rows_with_different_n_say_so() -> None:
    audit = made_audit("original")
    mixed = replace(audit, robustness=(replace(audit.robustness[0], n=77), *audit.robustness[1:]))
    assert "n = 77" in shown(bracket_table(mixed), 100)


def test_audit_table_has_verdict_next_step_caution_and_warnings() -> None:
    audit = made_audit("low-rank")
    text = " ".join(shown(audit_table(audit), 100).split())
    assert audit.comparison is not None
    for part in (
        "low-rank is brittle",
        "→ Look at layer conv2",
        audit.comparison.caution,
        "warning: few samples",
        "pos_embed",
    ):
        assert part in text
    assert "partial" in shown(audit_table(replace(audit, partial=True)))


def test_a_profile_has_no_attribution() -> None:
    assert attribution_table(made_audit("original")) is None
    assert "i profile" in shown(audit_table(made_audit("original")))


def test_attribution_sums_all_layers_even_those_not_shown() -> None:
    audit = made_audit("narrow")
    full, short = shown(attribution_table(audit)), shown(attribution_table(audit, limit=1))
    assert full.splitlines()[-1].split() == short.splitlines()[-1].split()
    assert "3 smaller changes not shown" in " ".join(short.split())


def test_layers_are_the_worst_first() -> None:
    text = shown(layer_table(made_audit("low-rank"), limit=2))
    assert "2 more in the full report" in text
    names = [line.split()[0] for line in text.splitlines()[3:]]
    worst = sorted(made_audit("low-rank").layers, key=lambda layer: -layer.structure.linf)
    assert names == [layer.name for layer in worst[:2]]


def test_names_are_not_read_as_markup() -> None:
    audit = made_audit("low-rank")
    audit = replace(
        audit,
        model=replace(audit.model, name="[red]x[/red]"),
        layers=(replace(audit.layers[0], name="[bold]conv[/bold]"),),
        preflight=(Check("[i]check[/i]", "problem", "[u]do[/u]"),),
    )
    text = shown(audit_table(audit), 120)
    for name in ("[red]x[/red]", "[bold]conv[/bold]", "[i]check[/i]. [u]do[/u]"):
        assert name in text
    assert verdict_text(BRITTLE).plain == "! brittle"


def test_what_directions_reach_and_signs_of_masking_are_printed() -> None:
    audit = made_audit("neuron-pruned")
    text = " ".join(shown(audit_table(audit), 100).split())
    assert "leading directions of the margin" in text
    assert "warning: many steps beat one" in text
    assert "leading directions" not in shown(audit_table(replace(audit, explained=())))
