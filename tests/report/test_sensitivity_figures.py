"""The figures on directions, amplification, landscapes, probes and radii draw what the records say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.report import format as fmt
from brittle.report.amplification_plots import (
    MAX_LAYERS,
    amplification_figures,
    amplification_threats,
    layer_order,
)
from brittle.report.explained_plots import explained_cases, explained_figures
from brittle.report.landscape_plots import MAX_LEGEND, MAX_POINTS, MAX_SIDE, landscape_figures, landscape_groups
from brittle.report.nets import nets
from brittle.report.probe_plots import probe_figures, probe_options, probe_rows, threat_title
from brittle.report.radii_plots import MAX_POINTS as MAX_STEPS
from brittle.report.radii_plots import radii_figures, radii_norms, radius_rows, step_points
from tests.made_audits import made_audit, made_audits

SHOWN = nets(made_audits())
BARE = nets([replace(made_audit("original"), explained=(), amplification=(), landscapes=(), probes=(), radii=())])


def test_the_curve_holds_leading_and_random_shares_with_their_intervals() -> None:
    cases = explained_cases(SHOWN)
    assert [case.title for case in cases][1:] == [
        "margin, ℓ₂ ε = 0.5, pixels in [0, 1]",
        "representation, ℓ₂ ε = 0.5, pixels in [0, 1]",
        "margin, ℓ₂ ε = 0.5, pixels may leave [0, 1]",
    ]
    figure = explained_figures(cases)["explained-curve-e0"]
    random, leading = figure["traces"][2:4]
    explained = made_audit("low-rank").explained[0]
    assert leading["x"] == random["x"] == [c.m for c in explained.curve]
    assert leading["y"] == pytest.approx([c.damage for c in explained.curve], rel=1e-4)
    assert random["y"] == pytest.approx([c.random_damage for c in explained.curve], rel=1e-4)
    ends = [y + up for y, up in zip(leading["y"], leading["error_y"]["array"], strict=True)]
    assert ends == pytest.approx([c.interval95[1] for c in explained.curve if c.interval95], rel=1e-3)
    assert figure["layout"]["xaxis"]["tickvals"] == [1, 2, 4, 6]


def test_the_box_is_named_only_where_it_was_lifted_somewhere() -> None:
    audit = made_audit("low-rank")
    kept = replace(audit, explained=tuple(e for e in audit.explained if e.box))
    assert explained_cases(nets([kept]))[0].title == "margin, ℓ∞ ε = 0.1"


def test_overlap_bars_stand_against_a_random_direction() -> None:
    traces = explained_figures(explained_cases(SHOWN))["explained-overlap-e1"]["traces"]
    bars, lines = traces[: len(SHOWN)], traces[len(SHOWN) :]
    for net, bar, line in zip(SHOWN, bars, lines, strict=True):
        assert net.audit is not None
        assert bar["y"] == pytest.approx(net.audit.explained[1].overlap, rel=1e-3)
        assert line["y"] == [net.audit.explained[1].overlap_random] * 2


def test_sentences_say_how_many_directions_reach_nine_tenths() -> None:
    words = {net.name: (first, second) for net, first, second in explained_cases(SHOWN)[0].sentences()}
    first, second = words["low-rank"]
    point = made_audit("low-rank").explained[0].curve[-1]
    assert first == (
        f"The six leading directions of the margin (n = 500) reach {fmt.percent(point.damage)} "
        f"{fmt.percent_interval(point.interval95)} of the attack's damage; six random ones 9.0%."
    )
    assert second == ""
    assert words["original"][1] == "None of the m tried, up to 6, reaches 90% of the damage."


def test_an_attack_without_damage_explains_nothing() -> None:
    audit = made_audit("low-rank")
    curve = tuple(replace(c, damage=None, interval95=None, random_damage=None) for c in audit.explained[0].curve)
    harmless = replace(audit, explained=(replace(audit.explained[0], curve=curve, m_for_90=None, overlap=()),))
    cases = explained_cases(nets([harmless]))
    assert "nothing to explain" in cases[0].sentences()[0][1]
    assert explained_figures(cases) == {}


def test_amplification_puts_each_layer_in_its_row() -> None:
    assert amplification_threats(SHOWN) == (("linf", 0.1), ("l2", 0.5))
    figure = amplification_figures(SHOWN)["amplification-a1"]
    assert figure["layout"]["yaxis"]["ticktext"] == ["conv1", "conv2", "fc1", "head"]
    assert figure["layout"]["xaxis"]["type"] == "log"
    noise, attacked = figure["traces"][2:4]
    rows = [a for a in made_audit("low-rank").amplification if a.norm == "l2"]
    assert attacked["x"] == pytest.approx([a.attacked for a in rows], rel=1e-3)
    assert noise["x"] == pytest.approx([a.noise for a in rows], rel=1e-3)
    assert [round(y) for y in attacked["y"]] == [0, 1, 2, 3]
    low = [x - down for x, down in zip(attacked["x"], attacked["error_x"]["arrayminus"], strict=True)]
    assert low == pytest.approx([a.attacked_interval95[0] for a in rows], rel=1e-2)


def test_zero_amplification_has_no_place_on_a_logarithmic_axis() -> None:
    audit = made_audit("low-rank")
    rows = (replace(audit.amplification[0], noise=0.0, attacked_interval95=(0.0, 1.0)),)
    noise, attacked = amplification_figures(nets([replace(audit, amplification=rows)]))["amplification-a0"]["traces"][
        :2
    ]
    assert noise["x"] == []
    assert attacked["error_x"]["arrayminus"][0] < attacked["x"][0]


def test_layers_of_unlike_nets_keep_their_order() -> None:
    assert layer_order([["a", "b", "c"], ["a", "b.0", "b.1", "c", "d"]]) == ["a", "b.0", "b.1", "b", "c", "d"]
    audit = made_audit("original")
    many = tuple(replace(audit.amplification[0], layer=f"l{i}") for i in range(100))
    figure = amplification_figures(nets([replace(audit, amplification=many)]))["amplification-a0"]
    ticks = figure["layout"]["yaxis"]["ticktext"]
    assert (ticks[0], ticks[-1], len(ticks)) == ("l0", "l99", MAX_LAYERS)
    assert figure["left_out"] == 100 - MAX_LAYERS


def test_landscapes_share_class_colours_and_keep_every_region_in_place() -> None:
    groups, figures = landscape_groups(SHOWN), landscape_figures(SHOWN)
    assert [group.title for group in groups] == ["ℓ∞ ε = 0.1", "ℓ₂ ε = 0.5"]
    assert [name for name, _ in groups[0].legend] == ["0", "1", "2", "3"]
    assert len(figures) == 8
    audit = made_audit("low-rank")
    record, figure = audit.landscapes[1], figures["landscape-n1-l1"]
    ground, lines, clean, attacked = figure["traces"]
    assert ground["z"] == [list(row) for row in record.regions]
    assert (ground["x"][0], ground["x"][-1], ground["y"][0], ground["y"][-1]) == record.extent
    assert clean["x"] == pytest.approx([x for x, _ in record.clean], rel=1e-2)
    assert clean["y"] == pytest.approx([y for _, y in record.clean], rel=1e-2)
    assert attacked["x"] == pytest.approx([x for x, _ in record.attacked], rel=1e-2)
    assert lines["x"][:3] == [clean["x"][0], attacked["x"][0], None]
    # four classes 0 to 3, each in its own quarter of the same colour scale on ground and samples
    assert clean["marker"]["color"] == attacked["marker"]["line"]["color"] == list(record.labels)
    assert clean["marker"]["colorscale"] == ground["colorscale"]
    assert [colour for _, colour in ground["colorscale"][::2]] == [colour for _, colour in groups[1].legend]
    assert (ground["zmin"], ground["zmax"]) == (-0.5, 3.5)


def test_large_landscapes_are_thinned() -> None:
    audit = made_audit("low-rank")
    record = audit.landscapes[0]
    regions = tuple(tuple((i + j) % 30 for j in range(200)) for i in range(200))
    large = replace(record, regions=regions, clean=record.clean * 10, attacked=record.attacked * 10,
                    labels=record.labels * 10)  # fmt: skip
    shown = nets([replace(audit, landscapes=(large,))])
    ground, _, clean, _ = landscape_figures(shown)["landscape-n1-l0"]["traces"]
    assert len(ground["z"]) == len(ground["z"][0]) == MAX_SIDE
    assert (ground["x"][0], ground["x"][-1]) == record.extent[:2]
    assert len(clean["x"]) == MAX_POINTS
    group = landscape_groups(shown)[0]
    assert (len(group.legend), group.hidden) == (MAX_LEGEND, 10)
    assert len({colour for _, colour in group.legend}) == MAX_LEGEND


def test_a_landscape_without_regions_still_shows_its_points() -> None:
    audit = made_audit("low-rank")
    shown = nets([replace(audit, landscapes=(replace(audit.landscapes[0], regions=()),))])
    assert [t["type"] for t in landscape_figures(shown)["landscape-n1-l0"]["traces"]] == ["scatter"] * 3


def test_probe_rows_and_figures_run_from_flattened_to_concentrated() -> None:
    rows = probe_rows(SHOWN)[:5]
    assert [row.change for row in rows] == ["flattened", "flattened", "as it is", "concentrated", "concentrated"]
    probe = made_audit("original").probes[0]
    assert rows[0].robust[1] == f"{fmt.percent(probe.robust['l2@0.5'])} " + fmt.percent_interval(
        probe.robust_interval95["l2@0.5"]
    )
    clean, robust = probe_figures(SHOWN)["probe-p1"]["traces"][:2]
    assert clean["y"][0] == pytest.approx(probe.clean)
    assert robust["y"][0] == pytest.approx(probe.robust["l2@0.5"], rel=1e-4)
    assert robust["x"] == sorted(robust["x"], reverse=True)
    assert probe_options(SHOWN) == [("p0", "ℓ∞ ε = 0.1"), ("p1", "ℓ₂ ε = 0.5")]
    assert threat_title("corruptions") == "corruptions"


@given(st.lists(st.none() | st.floats(0, 3).map(lambda r: round(r, 1)), min_size=1, max_size=60), st.floats(0, 3))
def test_the_step_curve_counts_the_samples_that_hold(radii: list[float | None], epsilon: float) -> None:
    x, y = step_points(radii)
    at = max(i for i, start in enumerate(x) if start <= epsilon)
    assert y[at] == pytest.approx(sum(r is None or r > epsilon for r in radii) / len(radii))
    assert x[0] == 0


def test_the_step_curve_is_thin_and_keeps_its_ends() -> None:
    x, y = step_points([i / 1000 for i in range(5000)])
    assert len(x) == MAX_STEPS
    assert (x[0], x[-1], y[-1]) == (0, 4.999, 0)


def test_audited_radii_lie_on_the_curve() -> None:
    assert radii_norms(SHOWN) == ("linf", "l2")
    traces = radii_figures(SHOWN)["radii-l2"]["traces"]
    curves, points = traces[: len(SHOWN)], traces[len(SHOWN) :]
    for curve, attacked in zip(curves, points[1::2], strict=True):
        for epsilon, accuracy in zip(attacked["x"], attacked["y"], strict=True):
            at = max(i for i, start in enumerate(curve["x"]) if start <= epsilon)
            assert curve["y"][at] == pytest.approx(accuracy, abs=0.02)
    certified = points[0]
    assert certified["y"] == pytest.approx([r.certified for r in made_audit("original").robustness if r.norm == "l2"])


def test_radius_rows_show_the_quantiles_and_what_was_never_broken() -> None:
    row = radius_rows(SHOWN)[1]
    record = made_audit("low-rank").radii[0]
    assert row.net.name == "low-rank"
    assert row.quantiles[2] == fmt.number(record.quantiles["0.5"])
    assert row.unbroken == str(sum(r is None for r in record.radii))
    none = replace(made_audit("low-rank"), radii=(replace(record, quantiles={"0.9": None}),))
    assert radius_rows(nets([none]))[0].quantiles == ("–",) * 5


def test_nothing_measured_draws_nothing() -> None:
    for figures in (amplification_figures(BARE), landscape_figures(BARE), probe_figures(BARE), radii_figures(BARE)):
        assert figures == {}
    assert explained_cases(BARE) == ()
    assert landscape_groups(BARE) == ()
    assert probe_rows(BARE) == ()
