"""The waterfall's bars add up to the change of log L_hat, in the data and on paper."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from brittle.report.waterfall import MAX_BARS, PARTS, part_sums, waterfall_bars, waterfall_figure, waterfall_svg
from brittle.results.encoder import EncoderChange, EncoderTerm


def term(i: int, name: str = "") -> EncoderTerm:
    values = [math.sin(7 * i + j + 1) for j in range(len(PARTS))]
    return EncoderTerm(name or f"layer{i}", "l2", *values)


def change(layers: int, *extra: EncoderTerm) -> EncoderChange:
    terms = (*(term(i) for i in range(layers)), *extra)
    total = math.fsum(t.total for t in terms)
    return EncoderChange("l2", "exact-norms", 1.0, 1.0 + total, total, terms, (), "")


NOTHING = EncoderChange("l2", "exact-norms", None, 1.0, None, (), (), "base: no chain")


@pytest.mark.parametrize("layers", [1, 3, 4, 5, 60])
def test_bars_start_at_the_base_chain_and_end_at_the_change(layers: int) -> None:
    made = change(layers)
    bars = waterfall_bars(made)
    assert bars[0].start == 0.0
    assert all(a.end == b.start for a, b in pairwise(bars))
    assert bars[-1].end == pytest.approx(made.log_change, abs=1e-9)
    assert math.fsum(b.value for b in bars) == pytest.approx(made.log_change, abs=1e-9)
    assert len(bars) == min(6 * layers, MAX_BARS)


def test_the_smallest_parts_become_one_bar() -> None:
    bars = waterfall_bars(change(60))
    assert bars[-1].part == "other"
    assert bars[-1].layer == f"{360 - MAX_BARS + 1} smaller parts"
    parts = [abs(getattr(t, p)) for t in change(60).terms for p in PARTS]
    kept = [abs(b.value) for b in bars[:-1]]
    assert min(kept) >= sorted(parts)[-(MAX_BARS - 1)] - 1e-12


def test_parts_that_did_not_change_get_no_bar() -> None:
    still = EncoderTerm("fc9", "l2", 0.0, 0.0, 0.5, 0.0, 1e-14, 0.0)
    assert [(b.layer, b.part) for b in waterfall_bars(change(0, still))] == [("fc9", "shape")]


def test_figure_draws_every_bar_once_and_the_sum() -> None:
    made = change(3)
    figure = waterfall_figure(made)
    assert figure is not None
    drawn = [(x, b) for trace in figure["traces"] for x, b in zip(trace["x"], trace["base"], strict=True)]
    *steps, total = drawn
    assert sum(x for x, _ in steps) == pytest.approx(made.log_change, abs=1e-9)
    assert total == (made.log_change, 0.0)
    rows = sorted(y for trace in figure["traces"] for y in trace["y"])
    assert rows == list(range(19))
    assert len(figure["layout"]["yaxis"]["ticktext"]) == 19
    assert waterfall_figure(NOTHING) is None


def test_svg_is_well_formed_and_its_lengths_add_up() -> None:
    made = change(3)
    root = ElementTree.fromstring(waterfall_svg(made, "rank 6 & friends"))
    rects = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(rects) == 19
    *steps, total = [float(r.get("width", "0")) for r in rects]
    signs = [math.copysign(1.0, b.value) for b in waterfall_bars(made)]
    moved = abs(sum(s * w for s, w in zip(signs, steps, strict=True)))
    assert moved == pytest.approx(total, abs=0.1 * len(rects))  # drawn to a tenth of a pixel
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "rank 6 & friends"
    assert waterfall_svg(NOTHING, "none") == ""


def test_names_from_outside_are_escaped() -> None:
    made = change(0, term(1, "<script>x"))
    svg, figure = waterfall_svg(made, "<b>"), waterfall_figure(made)
    assert figure is not None
    assert "<script" not in svg
    assert "<b>" not in svg
    assert not any("<script" in text for text in figure["layout"]["yaxis"]["ticktext"])
    assert re.search(r"&lt;script&gt;x", svg)


def test_sums_of_parts_add_up_too() -> None:
    made = change(4)
    assert math.fsum(part_sums(made.terms).values()) == pytest.approx(made.log_change, abs=1e-9)
