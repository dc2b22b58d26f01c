"""What the figures and tables draw is what the records say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from brittle.report.attribution_rows import cautions, sum_rows, unmatched
from brittle.report.comparison_rows import MAX_CLASSES, class_rows, threat_rows
from brittle.report.curves import MAX_CHARACTERS, curves
from brittle.report.ladder_rows import gap_rows, ladder_tables
from brittle.report.layer_columns import COLUMNS, columns_for, groups
from brittle.report.nets import nets, threats
from brittle.report.pictures import MAX_PER_NET, pictures
from brittle.report.plots import MAX_BARS, attribution_figure, drop_figure, epsilon_figure
from brittle.report.record_rows import finding_rows, masking_rows, not_computed, setting_rows, unmeasured_rows
from brittle.results.audit import LayerChange
from tests.made_audits import RADII, made_audit, made_audits, made_children

SHOWN = nets(made_audits())
THREATS = threats(made_audits())


def test_drop_figure_has_each_drop_with_its_interval() -> None:
    figure = drop_figure(SHOWN, THREATS)
    assert figure is not None
    trace = figure["traces"][0]
    pairs = made_audit("low-rank").comparison.paired  # type: ignore[union-attr]
    assert trace["x"] == pytest.approx([p.drop_points for p in pairs], rel=1e-4)
    ends = [x + up for x, up in zip(trace["x"], trace["error_x"]["array"], strict=True)]
    assert ends == pytest.approx([p.interval95[1] for p in pairs], rel=1e-3)
    assert figure["layout"]["meta"]["tolerance"] == 2.0
    assert drop_figure(nets(made_audits()[:1]), THREATS) is None


def test_epsilon_figure_runs_from_clean_and_keeps_certified_below_attacked() -> None:
    figure = epsilon_figure(SHOWN, "linf", RADII["linf"])
    assert figure is not None
    assert len(figure["traces"]) == 8
    for certified, attacked in zip(figure["traces"][::2], figure["traces"][1::2], strict=True):
        assert certified["x"] == attacked["x"] == [0.0, *RADII["linf"]]
        assert certified["y"][0] == attacked["y"][0]
        assert all(low <= high for low, high in zip(certified["y"], attacked["y"], strict=True))
    assert epsilon_figure(SHOWN, "l1", []) is None


def test_attribution_bars_add_up_to_the_diamonds() -> None:
    figure = attribution_figure(made_audit("narrow").comparison, "linf")  # type: ignore[arg-type]
    assert figure is not None
    scale, structure, total = (trace["x"] for trace in figure["traces"])
    assert total == pytest.approx([a + b for a, b in zip(scale, structure, strict=True)], abs=1e-4)


def test_attribution_of_a_deep_net_keeps_the_largest_layers() -> None:
    comparison = made_audit("narrow").comparison
    assert comparison is not None
    changes = tuple(LayerChange(f"stage.block{i}.convolution", i / 100, 0.0, 0.0) for i in range(50))
    figure = attribution_figure(replace(comparison, attribution=changes), "l2")
    assert figure is not None
    assert figure["left_out"] == 50 - MAX_BARS
    assert min(figure["traces"][0]["x"]) == pytest.approx(0.2)
    assert figure["layout"]["yaxis"]["ticktext"][0].endswith("convolution"[-13:])
    assert attribution_figure(replace(comparison, attribution=()), "l2") is None


def test_sums_over_layers() -> None:
    rows = sum_rows(SHOWN, ["linf", "l2"])
    changes = made_audit("low-rank").comparison.attribution  # type: ignore[union-attr]
    assert rows[0].scale == f"{sum(c.log_scale for c in changes):+.2f}".replace("-", "−")
    assert rows[1].structure == f"{sum(c.log_structure_l2 for c in changes):+.2f}"
    assert len(cautions(SHOWN)) == 1
    assert unmatched(SHOWN) == ()
    audit = made_audit("low-rank")
    partly = replace(audit, comparison=replace(audit.comparison, unmatched=("fc9", "fc10")))  # type: ignore[type-var]
    assert unmatched(nets([partly]))[0][1:] == ("original", "fc9, fc10")


def test_comparison_rows_and_a_base_known_through_its_children() -> None:
    full, alone = threat_rows(SHOWN, THREATS), threat_rows(nets(made_children()), THREATS)
    assert [row.net.name for row in full[3].rows] == [net.name for net in SHOWN]
    for one, other in zip(full, alone, strict=True):
        given, derived = one.rows[0], other.rows[0]
        assert (given.clean, given.robust, given.noise) == (derived.clean, derived.robust, derived.noise)
        assert derived.certified == "–"


def test_class_rows_keep_the_classes_that_changed_most() -> None:
    assert [label for label, _ in class_rows(SHOWN, THREATS)[0].rows] == [str(i) for i in range(10)]
    audit = made_audit("low-rank")
    assert audit.comparison is not None
    pair = replace(audit.comparison.paired[0], per_class={f"c{i}": float(i) for i in range(100)})
    many = replace(audit, comparison=replace(audit.comparison, paired=(pair,)))
    group = class_rows(nets([many]), [("linf", 0.01)])[0]
    assert [label for label, _ in group.rows] == [f"c{i}" for i in range(100 - MAX_CLASSES, 100)]
    assert group.hidden == 100 - MAX_CLASSES


def test_curves_keep_the_ends_and_fit() -> None:
    layer = curves(SHOWN)[2]
    assert layer["name"] == "fc1"
    sigma = made_audit("original").layers[2].singular_values
    assert layer["sigma"]["n0"] == pytest.approx(list(sigma), rel=1e-3)
    audit = made_audit("original")
    values = tuple(float(1000 - i) for i in range(256))
    layers = tuple(replace(audit.layers[0], name=str(i), singular_values=values, row_norms=values) for i in range(1000))
    deep = curves(nets([replace(audit, layers=layers)]))
    assert deep[0]["sigma"]["n0"][0] == 1000
    assert deep[0]["sigma"]["n0"][-1] == 745
    assert (
        sum(len(str(v)) + 1 for entry in deep for kind in ("sigma", "rows") for v in entry[kind]["n0"]) < MAX_CHARACTERS
    )


def test_ladder_marks_the_smallest_upper_bound_and_gives_reasons() -> None:
    table = ladder_tables(SHOWN)[0]
    rows = {rung: cells for rung, _, cells in table.rows}
    assert all(cell is not None and cell.best for cell in rows["loop transformation"])
    assert not any(cell is not None and cell.best for cell in rows["product of norms"])
    assert all(cell is not None and cell.reason for cell in rows["semidefinite"])
    assert table.no_constant == ()
    assert gap_rows(SHOWN, THREATS)[0][0] == "ℓ∞ ε = 0.01"


def test_layer_columns_cover_every_metric() -> None:
    layer = made_audit("low-rank").layers[1]
    cells = [column.cell(layer)[1] for column in COLUMNS]
    metrics = [
        layer.frobenius, layer.parameters, layer.structure.linf, layer.structure.l2, layer.norms["l2"].value,
        layer.norms["l2"].lower, layer.theorem31["l2"].upper, layer.theorem31["l2"].lower, layer.theorem31["linf"].k,
        *(getattr(layer.neuron, f) for f in ("k", "epsilon", "beta", "beta_mean", "pq_index", "keep_at_5pct")),
        *(getattr(layer.spectral, f) for f in ("k", "epsilon", "beta", "beta_mean", "pq_index", "effective_rank")),
        layer.spectral.stable_rank, layer.spectral.rank_at_5pct,
    ]  # fmt: skip
    assert all(metric in cells for metric in metrics)
    assert sum(n for _, n, _ in groups(COLUMNS)) == len(COLUMNS)
    assert columns_for(10) == COLUMNS
    assert all(column.main for column in columns_for(1000))
    bare = replace(layer, norms={}, theorem31={})
    assert [c.cell(bare)[0] for c in COLUMNS].count("–") == 10


def test_pictures_are_limited() -> None:
    audit = made_audit("narrow")
    kept, left_out = pictures(nets([replace(audit, examples=audit.examples * 5)]))
    assert len(kept[0][1]) == MAX_PER_NET
    assert left_out == 20 - MAX_PER_NET


def test_record_rows() -> None:
    audited = [net for net in SHOWN if net.audit is not None]
    settings = dict(setting_rows(audited))
    assert settings["seed"] == ["0"] * 4
    assert settings["parameters"][1] == "14,300"
    checks = finding_rows(audited)
    assert [check.verdict for check, _ in checks] == ["warning", "warning", "ok", "ok", "ok", "ok"]
    assert len(checks[0][1]) == 4
    assert [(check.check, [net.name for net in holders]) for check, holders in masking_rows(audited)] == [
        ("many steps beat one", ["neuron-pruned"])
    ]
    assert len(unmeasured_rows(audited)) == 1
    assert [where for _, _, where in not_computed(audited)] == ["ℓ∞, ℓ₂; all nets"]
