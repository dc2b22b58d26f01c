"""Data inside a page: JSON that cannot leave its script element, and the page's own styles and scripts."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def json_for_script(values: Any) -> Markup:
    """JSON with every <, > and & written as an escape: no "</script>" and no "<!--" can appear in it.

    Raises:
        ValueError: NaN or infinity, which JSON has no word for.
    """
    text = json.dumps(values, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character, written in _ESCAPES.items():
        text = text.replace(character, written)
    return Markup(text)


def prose(text: str) -> Markup:
    """A sentence as HTML, escaped: `backticks` become code, and "n = 500" does not break over lines."""
    escaped = str(escape(text)).replace(" = ", "\u00a0=\u00a0")
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", escaped))


@cache
def static(name: str) -> Markup:
    """A file of report/static as it is, to stand inside <style> or <script>."""
    return Markup(files("brittle.report").joinpath("static", name).read_text(encoding="utf-8"))
