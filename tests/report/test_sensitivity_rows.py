"""Tiles of directions, universal perturbations, transfer tables, card sentences and sections say what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from brittle.report import format as fmt
from brittle.report.direction_panels import MAX_TILES, direction_panels
from brittle.report.figure import error_bars, rounded, short, thinned, tint
from brittle.report.findings import directions_sentence, findings, universal_sentence
from brittle.report.nets import nets
from brittle.report.pictures import is_png, within_budget
from brittle.report.sections import SECTIONS, sections
from brittle.report.transfer_rows import transfer_tables
from brittle.report.universal_rows import meter, universal_groups, weight_free_rows
from brittle.results.perturbations import Universal
from tests.made_audits import made_audit, made_audits, made_children

SHOWN = nets(made_audits())


def test_tiles_compare_nets_on_one_scale() -> None:
    panels, left_out = direction_panels(SHOWN)
    assert [panel.map for panel in panels] == ["representation", "margin"]
    assert left_out == 0
    assert [strip.net.name for strip in panels[0].strips] == [net.name for net in SHOWN]
    shares = {s.net.name: [d.share for d in s.found.directions] for s in panels[0].strips}
    most = max(value for values in shares.values() for value in values)
    for strip in panels[0].strips:
        assert [t.bar for t in strip.tiles] == pytest.approx([100 * s / most for s in shares[strip.net.name]], abs=0.06)
        assert strip.sum == fmt.percent(sum(shares[strip.net.name]))
        assert strip.drawn
        assert "residual" in strip.tiles[0].tip


def test_inputs_that_are_no_images_have_tiles_without_pictures() -> None:
    audit = made_audit("original")
    found = audit.directions["margin"]
    plain = replace(found, directions=tuple(replace(d, png=None) for d in found.directions * 3))
    panels, left_out = direction_panels(nets([replace(audit, directions={"margin": plain})]))
    assert left_out == 0
    assert not panels[0].strips[0].drawn
    assert len(panels[0].strips[0].tiles) == MAX_TILES
    assert direction_panels(nets([replace(audit, directions={})])) == ((), 0)


def test_leading_directions_of_all_nets_are_drawn_before_the_next_ones() -> None:
    picture = "data:image/png;base64," + "A" * 25_000
    audits = []
    for audit in made_audits()[:2]:
        found = audit.directions["margin"]
        big = replace(found, directions=tuple(replace(d, png=picture) for d in found.directions))
        audits.append(replace(audit, directions={"margin": big}))
    panels, left_out = direction_panels(nets(audits))
    drawn = [[tile.png is not None for tile in strip.tiles] for strip in panels[0].strips]
    assert drawn == [[True, True] + [False] * 4] * 2
    assert left_out == 8


def test_only_inline_pngs_within_the_budget_pass() -> None:
    good = "data:image/png;base64,AAAA"
    assert within_budget([good, None, "https://spy.example/a.png", good, good], 2 * len(good)) == (
        [good, None, None, good, None],
        2,
    )
    assert not is_png("data:image/svg+xml;base64,AAAA")


def test_universal_rows_put_the_nets_of_one_method_together() -> None:
    groups, left_out = universal_groups(SHOWN)
    assert [group.title for group in groups] == ["ℓ∞ ε = 0.1", "ℓ₂ ε = 1"]
    assert [(row.net.name, row.target) for row in groups[0].rows] == [
        (net.name, target) for target in ("", "3") for net in SHOWN
    ]
    record, row = made_audit("low-rank").universal[0], groups[0].rows[1]
    assert (row.rate, row.interval) == (fmt.percent(record.fooling_rate), fmt.percent_interval(record.interval95))
    assert row.meter.value == pytest.approx(100 * record.fooling_rate, abs=0.06)
    assert row.meter.control == pytest.approx(100 * record.control)
    assert (row.n, row.fitted, row.held_out, left_out) == ("500", "512", True, 0)


def test_an_older_universal_record_claims_no_interval_and_no_control() -> None:
    audit = replace(made_audit("original"), universal=(Universal("l2", 1.0, 0.2, False),))
    row = universal_groups(nets([audit]))[0][0].rows[0]
    assert (row.interval, row.control, row.n, row.accuracy, row.method) == ("", "–", "–", "–", "–")
    assert (row.meter.low, row.meter.control) == (None, None)


def test_meters_stay_on_their_track() -> None:
    bar = meter(1.3, (-0.2, 1.4), None)
    assert (bar.value, bar.low, bar.high, bar.control) == (100, 0, 100, None)


def test_transfer_tables_have_a_row_for_each_source() -> None:
    tables = transfer_tables(SHOWN)
    assert [table.title for table in tables] == [
        "one perturbation for each input, ℓ∞ ε = 0.1",
        "one perturbation for all inputs, ℓ∞ ε = 0.1",
        "sensitive directions, ℓ₂ ε = 0.5",
    ]
    table = tables[0]
    assert table.targets == ("original", "low-rank", "neuron-pruned", "narrow")
    shares = [[None if c is None else c.share for c in cells] for _, cells in table.rows]
    assert shares[0] == ["100.0%", "71.0%", "71.0%", "71.0%"]
    assert shares[1] == ["42.0%", "100.0%", None, None]
    cell = table.rows[0][1][1]
    assert cell is not None
    assert cell.shade == 0.71
    assert "original on low-rank" in cell.tip
    assert "n = 500" in cell.tip


def test_transfer_calls_numbered_nets_by_their_numbers() -> None:
    child = made_audit("low-rank")
    table = transfer_tables(nets([child, child]))[0]
    assert table.targets == ("original", "low-rank", "low-rank (2)")


def test_adversaries_without_weights() -> None:
    rows = weight_free_rows(SHOWN)
    assert len(rows) == 4 + 2 * 3
    queries, surrogate, harmless = rows[0], rows[4], rows[5]
    assert (queries.knowledge, queries.queries, queries.share) == ("logits only", "2,000", "60.0%")
    assert (surrogate.knowledge, surrogate.source) == ("another net's weights", "original")
    assert (harmless.meter, harmless.share, harmless.interval) == (None, "–", "")


def test_the_card_quotes_the_record_at_the_threat_it_speaks_of() -> None:
    audit = made_audit("low-rank")
    by_norm = {norm: directions_sentence(audit, norm, e) for norm, e in (("linf", 0.1), ("l2", 0.5))}
    assert "ℓ∞ ε = 0.1" in by_norm["linf"]
    assert "ℓ₂ ε = 0.5" in by_norm["l2"]
    chosen = next(e for e in audit.explained if (e.norm, e.map, e.box) == ("linf", "margin", True))
    point = next(c for c in chosen.curve if c.m == chosen.m_for_90)
    assert f"reach {fmt.percent(point.damage)}" in by_norm["linf"]
    assert by_norm["linf"].endswith(f"six random ones {fmt.percent(point.random_damage)}.")
    record = audit.universal[0]
    said = universal_sentence(audit, "linf", 0.1)
    assert f"changes {fmt.percent(record.fooling_rate)} of the predictions" in said
    assert said.endswith(f"random ones of the same length {fmt.percent(record.control)}.")


def test_one_direction_is_said_in_the_singular() -> None:
    audit = made_audit("low-rank")
    first = replace(audit.explained[0], curve=audit.explained[0].curve[:1], m_for_90=None)
    said = directions_sentence(replace(audit, explained=(first,)), "linf", 0.1)
    assert said.startswith("The leading direction of the margin")
    assert " reaches " in said
    assert "a random one 1.5%" in said


def test_nothing_is_said_of_what_was_not_measured() -> None:
    audit = made_audit("low-rank")
    fitted = tuple(replace(u, held_out=False) for u in audit.universal)
    assert findings(replace(audit, explained=(), universal=fitted), "linf", 0.1) == ()
    targeted = tuple(u for u in audit.universal if u.target is not None)
    assert universal_sentence(replace(audit, universal=targeted), "linf", 0.1) == ""


def test_sections_are_numbered_over_what_is_there() -> None:
    assert [(s.name, s.number) for s in sections(made_audits())] == [
        (name, i) for i, (name, _) in enumerate(SECTIONS, start=1)
    ]
    bare = replace(
        made_audit("original"), directions={}, explained=(), amplification=(), landscapes=(), probes=(), radii=(),
        universal=(), weight_free=(),
    )  # fmt: skip
    assert [s.number for s in sections([bare])] == list(range(1, 9))
    child = made_children()[0]
    assert child.comparison is not None
    only = replace(bare, comparison=child.comparison)
    assert "beyond" in {s.name for s in sections([only])}
    assert "directions" in {s.name for s in sections([replace(bare, probes=child.probes)])}


def test_small_parts_of_figures() -> None:
    assert rounded(123456.7) == 123460.0
    assert tint("#0072b2", 0.5) == "rgba(0,114,178,0.5)"
    assert (short("conv2"), short("block11.convolution", 12)) == ("conv2", "…convolution")
    assert thinned(3, 5) == [0, 1, 2]
    assert thinned(101, 5) == [0, 25, 50, 75, 100]
    bars = error_bars([0.5, 0.5], [(0.4, 0.7), None], "#000000")
    assert bars["array"] == pytest.approx([0.2, 0])
    assert bars["arrayminus"] == pytest.approx([0.1, 0])


def test_counts_in_words() -> None:
    assert [fmt.spelt(n) for n in (0, 6, 12, 13, 1234)] == ["no", "six", "twelve", "13", "1,234"]
