"""The plots' arithmetic: ticks, places, markers, strips."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.report.study_svg import ALONE, Mean, Series, axis, legend, panel, span, strip, svg

NUMBERS = st.lists(st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=1, max_size=9)


@given(NUMBERS)
def test_an_axis_holds_its_values_and_its_ticks_are_round_and_read_as_they_are(values: list[float]) -> None:
    made = axis("y", values)
    assert made.low < min(values)
    assert max(values) < made.high
    assert 1 <= len(made.ticks) <= 12
    for value, text in made.ticks:
        assert made.low <= value <= made.high
        assert float(text.replace("−", "-")) == pytest.approx(value, abs=1e-6 * (made.high - made.low))
    steps = {
        round((b - a) / (made.high - made.low), 9) for (a, _), (b, _) in zip(made.ticks, made.ticks[1:], strict=False)
    }
    assert len(steps) <= 1


def _series(dashed: bool = False, joined: bool = True) -> Series:
    means = (Mean(0.0, 10.0, (8.0, 12.0), "first <one>"), Mean(1.0, 20.0, None, "second"))
    return Series("a & b", "#0072b2", "square", dashed, joined, means, ((0.0, 9.0), (1.0, 20.0)), "C1.0.0")


def _parsed(inside: str) -> ET.Element:
    return ET.fromstring(svg(inside, 520, 310, "what <it> shows"))


def _all(root: ET.Element, name: str) -> list[ET.Element]:
    return list(root.iter("{http://www.w3.org/2000/svg}" + name))


def test_points_stand_where_their_values_say() -> None:
    x, y = axis("x", [0.0, 1.0]), axis("y", [8.0, 20.0])
    root = _parsed(panel([_series()], x, y, 520, 310))
    first, second = (
        tuple(map(float, place.split(","))) for place in _all(root, "polyline")[0].attrib["points"].split()
    )
    share = (first[0] - 46) / (520 - 14 - 46)
    assert share == pytest.approx((0 - x.low) / (x.high - x.low), abs=1e-3)
    assert first[1] - second[1] == pytest.approx((20 - 10) / (y.high - y.low) * (310 - 44 - 30), abs=0.2)
    bar = next(path for path in _all(root, "path") if path.get("class") == "bar")
    ends = [float(end) for end in re.fullmatch(r"M[\d.]+ ([\d.]+)V([\d.]+)", bar.attrib["d"]).groups()]  # type: ignore[union-attr]
    assert ends[0] - ends[1] == pytest.approx(4 / (y.high - y.low) * (310 - 44 - 30), abs=0.2)
    assert len(_all(root, "circle")) == 2
    assert [group.get("data-points") for group in _all(root, "g") if group.get("class") == "seed"] == ["C1.0.0"]
    assert [title.text for title in _all(root, "title")] == ["first <one>", "second"]
    assert root.get("aria-label") == "what <it> shows"


def test_controls_are_dashed_and_hollow_and_associations_have_no_line() -> None:
    x, y = axis("x", [0.0, 1.0]), axis("y", [8.0, 20.0])
    control = _parsed(panel([_series(dashed=True)], x, y, 520, 310))
    assert _all(control, "polyline")[0].get("stroke-dasharray")
    assert [group.get("class") for group in _all(control, "g")][-1] == "mark-hollow"
    assert not _all(_parsed(panel([_series(joined=False)], x, y, 520, 310)), "polyline")


def test_an_interval_beyond_the_panel_is_cut_at_its_edge() -> None:
    wide = Series("a", "#0072b2", "circle", False, True, (Mean(0.5, 5.0, (-1e9, 1e9), ""),), ())
    root = _parsed(panel([wide], axis("x", [0.0, 1.0]), axis("y", [0.0, 10.0]), 520, 310))
    bar = next(path for path in _all(root, "path") if path.get("class") == "bar")
    assert re.fullmatch(r"M[\d.]+ 266.0V30.0", bar.attrib["d"])


@pytest.mark.parametrize(
    "symbol", ["circle", "square", "diamond", "triangle-up", "cross", "hexagon", "star", "unknown"]
)
def test_every_symbol_is_drawn_around_its_place(symbol: str) -> None:
    one = Series("a", "#0072b2", symbol, False, True, (Mean(0.0, 0.0, None, ""),), ())
    root = _parsed(panel([one], axis("x", [0.0]), axis("y", [0.0]), 520, 310))
    group = next(group for group in _all(root, "g") if group.get("class") == "mark-full")
    shape = group[0].attrib["d"]
    start = re.match(r"M([\d.]+) ([\d.]+)", shape)
    assert start is not None
    assert float(start[1]) == pytest.approx((46 + 506) / 2, abs=0.1)
    assert float(start[2]) == pytest.approx((30 + 266) / 2, abs=0.1)
    if symbol == "circle":
        assert "m-4.4 0a4.4 4.4" in shape
        return
    steps = [(float(a), float(b)) for a, b in re.findall(r"[ml](-?[\d.]+) (-?[\d.]+)", shape)]
    corners = [(sum(a for a, _ in steps[: i + 1]), sum(b for _, b in steps[: i + 1])) for i in range(len(steps))]
    for axis_of in (0, 1):  # around its place, and of its size
        values = [corner[axis_of] for corner in corners]
        assert sum(values) / len(values) == pytest.approx(0, abs=0.3)
        assert 6 < max(values) - min(values) < 13
    turns = [
        (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
        for a, b, c in zip(corners, corners[1:] + corners[:1], corners[2:] + corners[:2], strict=True)
    ]
    assert min(turns) > 0 or symbol in ("cross", "star")  # goes round once, without crossing itself
    area = sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(corners, corners[1:] + corners[:1], strict=True)) / 2
    assert 20 < area < 90


def test_a_strip_has_zero_and_every_interval_in_its_place() -> None:
    low, high = span([-10.0, -2.0])
    assert low < -10
    assert 0 < high < 1
    root = ET.fromstring(strip([(-8.0, (-10.0, -6.0), "#000000", "8 <lost>")], low, high, 120))
    zero, bar = (path.attrib["d"] for path in root.iter("path"))
    at = float(re.match(r"M([\d.]+)", zero)[1])  # type: ignore[index]
    left, right = (float(n) for n in re.fullmatch(r"M([\d.]+) [\d.]+H([\d.]+)", bar).groups())  # type: ignore[union-attr]
    assert left < float(next(root.iter("circle")).attrib["cx"]) < right < at
    assert (right - left) / (at - left) == pytest.approx(4 / 10, abs=0.01)
    assert span([]) == (-1.0, 1.0)


def test_a_picture_that_stands_alone_has_its_legend_and_its_own_colours() -> None:
    lines, height = legend([_series(), _series(dashed=True), _series()], 520, 300)
    assert height == 36
    root = ET.fromstring(svg(lines, 520, 340, "", ALONE))
    assert [text.text for text in _all(root, "text")] == ["a & b"] * 3
    assert "prefers-color-scheme" in str(_all(root, "style")[0].text)
