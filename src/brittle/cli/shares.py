"""Shares of a size as people type them: `0.125`, `1/8`, several with commas."""

from __future__ import annotations

from brittle.errors import UsageError


def parse_share(option: str, text: str) -> float:
    """A share in (0, 1], as a number or a fraction.

    Raises:
        UsageError: a text that is neither, or a share outside its range.
    """
    top, slash, bottom = text.strip().partition("/")
    try:
        value = float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"cannot read {option} {text!r}: expected a share such as 0.125 or 1/8") from None
    if not 0 < value <= 1:
        raise UsageError(
            f"{option} is the share of the parameters that stay, above 0 and at most 1, got {text}: 0.25 is a fourth"
        )
    return value


def parse_shares(option: str, text: str) -> tuple[float, ...]:
    """Shares between commas, in the order typed.

    Raises:
        UsageError: none at all, or one that cannot be read or is out of range.
    """
    shares = tuple(parse_share(option, part) for part in text.split(",") if part.strip())
    if not shares:
        raise UsageError(f"{option} names no share: expected some such as 0.5,0.25,0.125")
    return shares
