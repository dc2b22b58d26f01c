"""Which example images fit the page: checked data URIs only, within a budget, and evenly over the nets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from brittle.report.nets import Net
from brittle.results.robustness import Example

MAX_CHARACTERS = 160_000
MAX_PER_NET = 6
_PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")


def pictures(shown: Sequence[Net]) -> tuple[list[tuple[Net, list[Example]]], int]:
    """(examples by net, how many were left out). An URI that is no inline PNG never reaches the page."""
    audited = [net for net in shown if net.audit is not None]
    chosen: list[tuple[Net, list[Example]]] = [(net, []) for net in audited]
    left_out, spent = 0, 0
    rounds = max((len(net.audit.examples) for net in audited if net.audit), default=0)
    for i in range(rounds):
        for net, kept in chosen:
            examples = net.audit.examples if net.audit else ()
            if i >= len(examples):
                continue
            uris = (examples[i].clean_png, examples[i].attacked_png, examples[i].delta_png)
            size = sum(map(len, uris))
            if i >= MAX_PER_NET or spent + size > MAX_CHARACTERS or not all(map(is_png, uris)):
                left_out += 1
                continue
            spent += size
            kept.append(examples[i])
    return [(net, kept) for net, kept in chosen if kept], left_out


def is_png(uri: str) -> bool:
    """Whether an URI is an inline PNG, the only kind of image that may reach the page."""
    return _PNG.fullmatch(uri) is not None


def within_budget(uris: Iterable[str | None], budget: int) -> tuple[list[str | None], int]:
    """(the inline PNGs that fit in `budget` characters, None for the others; how many were left out), in order."""
    kept: list[str | None] = []
    left_out = 0
    for uri in uris:
        fits = uri is not None and len(uri) <= budget and is_png(uri)
        left_out += uri is not None and not fits
        budget -= len(uri) if uri is not None and fits else 0
        kept.append(uri if fits else None)
    return kept, left_out
