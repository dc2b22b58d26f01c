"""Radii as people type them: `0.05`, `8/255`, `linf:0.05`, `l2:0.5`, one or several, comma or space between."""

from __future__ import annotations

from collections.abc import Sequence

from brittle.errors import UsageError


def parse_radii(texts: Sequence[str], norms: Sequence[str]) -> dict[str, tuple[float, ...]] | None:
    """Radii by norm; None where nothing was given.

    A number without a norm has that of the number before it in its comma list, else it counts for all of `norms`.

    Raises:
        UsageError: a text that is no positive number (or fraction), or a norm that was not asked for.
    """
    if not texts:
        return None
    radii: dict[str, list[float]] = {norm: [] for norm in norms}
    for whole in texts:
        chosen = tuple(norms)
        for text in (part.strip() for part in whole.split(",") if part.strip()):
            norm, colon, number = text.rpartition(":")
            if colon and norm not in radii:
                raise UsageError(
                    f"radius {text!r} is for a norm that is not measured: expected {', '.join(norms)} (see --norm)"
                )
            chosen = (norm,) if colon else chosen
            for name in chosen:
                radii[name].append(_number(number, text))
    return {norm: tuple(values) for norm, values in radii.items() if values}


def _number(number: str, text: str) -> float:
    top, slash, bottom = number.partition("/")
    try:
        value = float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"cannot read radius {text!r}: expected a number in pixel units such as 0.05, 8/255 or l2:0.5"
        ) from None
    if not 0 < value < float("inf"):
        raise UsageError(f"epsilon must be a positive number in pixel units (pixels are in [0, 1]), got {text!r}")
    return value
