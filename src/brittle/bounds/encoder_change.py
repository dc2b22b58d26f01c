"""What compression did to log L_hat, layer by layer: child minus base, the same split on both sides."""

from __future__ import annotations

from dataclasses import fields

from brittle.errors import UsageError
from brittle.results.encoder import EncoderBound, EncoderChange, EncoderTerm


def encoder_change(base: EncoderBound, child: EncoderBound) -> EncoderChange:
    """The terms' differences, in the child's order; layers of the base alone come last.

    They add up to the change of log L_hat, whatever layers the two share and whichever pairs were matched.

    Raises:
        UsageError: bounds of different norms or kinds.
    """
    if (base.norm, base.kind) != (child.norm, child.kind):
        raise UsageError(
            f"a change needs two bounds of one norm and kind, got {base.norm} {base.kind} and {child.norm} {child.kind}"
        )
    if base.log_value is None or child.log_value is None:
        why = f"base: {base.why}" if base.log_value is None else f"child: {child.why}"
        return EncoderChange(base.norm, base.kind, base.log_value, child.log_value, None, (), (), why)
    before = dict(_keyed(base))
    after = dict(_keyed(child))
    terms = [_difference(after.get(key), before.get(key)) for key in (*after, *(k for k in before if k not in after))]
    unmatched = tuple(key[0] for key in (*before, *after) if (key in before) != (key in after))
    why = "; ".join(f"{side}: {bound.why}" for side, bound in (("base", base), ("child", child)) if bound.why)
    change = child.log_value - base.log_value
    return EncoderChange(base.norm, base.kind, base.log_value, child.log_value, change, tuple(terms), unmatched, why)


def _keyed(bound: EncoderBound) -> list[tuple[tuple[str, int], EncoderTerm]]:
    """Terms under (name, how often the name came before): fixed maps may share one."""
    seen: dict[str, int] = {}
    keyed = []
    for term in bound.terms:
        keyed.append(((term.layer, seen.get(term.layer, 0)), term))
        seen[term.layer] = seen.get(term.layer, 0) + 1
    return keyed


def _difference(after: EncoderTerm | None, before: EncoderTerm | None) -> EncoderTerm:
    some = after or before
    assert some is not None

    def part(name: str) -> float:
        return (getattr(after, name) if after else 0.0) - (getattr(before, name) if before else 0.0)

    parts = {f.name: part(f.name) for f in fields(EncoderTerm) if f.name not in ("layer", "norm")}
    return EncoderTerm(layer=some.layer, norm=some.norm, **parts)
