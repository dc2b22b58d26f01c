"""Radii as people type them."""

from __future__ import annotations

import pytest

from brittle.cli.radii import parse_radii
from brittle.errors import UsageError

BOTH = ("linf", "l2")


@pytest.mark.parametrize(
    ("texts", "norms", "expected"),
    [
        ([], BOTH, None),
        (["0.05"], BOTH, {"linf": (0.05,), "l2": (0.05,)}),
        (["0.05", "0.1"], ("linf",), {"linf": (0.05, 0.1)}),
        (["8/255"], ("linf",), {"linf": (8 / 255,)}),
        (["linf:0.05,l2:0.5"], BOTH, {"linf": (0.05,), "l2": (0.5,)}),
        (["l2:0.5,1"], BOTH, {"l2": (0.5, 1.0)}),  # the norm holds to the end of its list
        (["l2:0.5", "0.1"], BOTH, {"linf": (0.1,), "l2": (0.5, 0.1)}),  # and no further
        ([" linf:0.05 , 0.1,"], BOTH, {"linf": (0.05, 0.1)}),
    ],
)
def test_what_is_typed_is_what_is_meant(
    texts: list[str], norms: tuple[str, ...], expected: dict[str, tuple[float, ...]] | None
) -> None:
    assert parse_radii(texts, norms) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("small", r"cannot read radius 'small': expected a number .* such as 0\.05, 8/255 or l2:0\.5"),
        ("8/0", "cannot read radius '8/0'"),
        ("8/2/2", "cannot read radius"),
        ("l2:", "cannot read radius 'l2:'"),
        ("l1:0.5", r"radius 'l1:0\.5' is for a norm that is not measured: expected linf, l2 \(see --norm\)"),
        ("-0.1", r"epsilon must be a positive number in pixel units .*, got '-0\.1'"),
        ("0", "epsilon must be a positive number"),
        ("inf", "epsilon must be a positive number"),
        ("nan", "epsilon must be a positive number"),
    ],
)
def test_what_is_no_radius_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_radii([text], BOTH)
