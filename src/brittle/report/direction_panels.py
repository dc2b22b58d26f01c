"""The leading directions of each map, one strip of tiles for each net, so that nets compare side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.report.nets import Net
from brittle.report.pictures import within_budget
from brittle.results.directions import Direction, DirectionSet

MAX_TILES = 8
MAX_CHARACTERS = 120_000
MAPS = {
    "representation": "the representation before the head moves most",
    "margin": "the margin between the true class and the strongest other one moves most",
}


@dataclass(frozen=True)
class Tile:
    """One direction: `bar` and `scored_bar` are percent of the longest bar of the map; `png` None where not drawn."""

    rank: int
    png: str | None
    share: str
    scored: str
    bar: float
    scored_bar: float
    tip: str


@dataclass(frozen=True)
class Strip:
    """One net's directions of one map, with what they carry together."""

    net: Net
    found: DirectionSet
    tiles: tuple[Tile, ...]
    sum: str
    scored_sum: str
    drawn: bool


@dataclass(frozen=True)
class Panel:
    """One map: `meaning` says what moves most along its directions ("" for a map that we have no words for)."""

    map: str
    meaning: str
    strips: tuple[Strip, ...]


def direction_panels(shown: Sequence[Net]) -> tuple[tuple[Panel, ...], int]:
    """(a panel for each map that any net has directions of, how many pictures were left out of the page)."""
    holders = [(net, net.audit.directions) for net in shown if net.audit is not None]
    maps = list(dict.fromkeys(name for _, found in holders for name in found))
    # the leading directions of every net are drawn before the next ones of any
    places = [
        (rank, name, net.key, found[name].directions[rank].png)
        for rank in range(MAX_TILES)
        for name in maps
        for net, found in holders
        if name in found and rank < len(found[name].directions)
    ]
    pictures, left_out = within_budget((png for *_, png in places), MAX_CHARACTERS)
    drawn = {(rank, name, key): png for (rank, name, key, _), png in zip(places, pictures, strict=True)}
    panels = []
    for name in maps:
        sets = [(net, found[name]) for net, found in holders if name in found]
        most = max((max(d.share, d.scored_share) for _, s in sets for d in s.directions), default=0.0)
        strips = tuple(_strip(net, name, found, most or 1.0, drawn) for net, found in sets)
        panels.append(Panel(name, MAPS.get(name, ""), strips))
    return tuple(panels), left_out


def _strip(
    net: Net, name: str, found: DirectionSet, most: float, drawn: dict[tuple[int, str, str], str | None]
) -> Strip:
    tiles = tuple(
        Tile(
            rank + 1,
            drawn.get((rank, name, net.key)),
            fmt.percent(d.share),
            fmt.percent(d.scored_share),
            _bar(d.share, most),
            _bar(d.scored_share, most),
            _tip(rank, d),
        )
        for rank, d in enumerate(found.directions[:MAX_TILES])
    )
    return Strip(
        net,
        found,
        tiles,
        fmt.percent(sum(d.share for d in found.directions)),
        fmt.percent(sum(d.scored_share for d in found.directions)),
        any(tile.png for tile in tiles),
    )


def _bar(share: float, most: float) -> float:
    return round(100 * min(1.0, max(0.0, share / most)), 1)


def _tip(rank: int, d: Direction) -> str:
    return f"direction {rank + 1}: energy {fmt.number(d.energy)}, residual {fmt.number(d.residual)}"
