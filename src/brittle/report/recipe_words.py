"""A recipe for people: the architecture and its options; layers that were changed are counted, not listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def recipe_words(recipe: Mapping[str, Any] | None, without: str) -> str:
    """`architecture=mlp, options={...}, 3 layers changed`; `without` where a model carries no recipe."""
    if not recipe:
        return without
    words = [f"{key}={value}" for key, value in recipe.items() if key != "edits"]
    changed = len(recipe.get("edits") or ())
    if changed:
        words.append("1 layer changed" if changed == 1 else f"{changed} layers changed")
    return ", ".join(words)
