"""Two audits on the same samples: what changed, by how much, in which layers, and the verdict. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from brittle.bounds.encoder_change import encoder_change
from brittle.errors import DataError
from brittle.evaluation.intervals import paired_drop_interval, samples_for_half_width, two_level_interval
from brittle.results.audit import Audit, Comparison, LayerChange, Paired, Verdict
from brittle.results.encoder import EncoderChange
from brittle.results.robustness import Robustness, threat_key

CAUTION = (
    "The split explains the change of the product bound, layer by layer; it does not prove what caused the change of "
    "robustness. Intervals cover the choice of test samples, not the training seed: audit several children of one "
    "method for that."
)


def compare(base: Audit, child: Audit, max_drop: float) -> Audit:
    """`child` with its comparison against `base` and the verdict (rule in the interface: tolerance in points).

    Raises:
        DataError: the audits were made on other samples or radii or with another effort, or one was stopped at its
            time limit.
    """
    if child.partial:
        raise DataError(
            f"the audit of {child.model.name} was stopped at its time limit: audit it again with a longer one"
        )
    keys = [threat_key(row.norm, row.epsilon) for row in child.robustness]
    check_base(base, child.data.sha256, f"{child.data.name}, {child.data.samples}", keys, child.settings.effort)
    before = {threat_key(row.norm, row.epsilon): row for row in base.robustness}
    pairs = [
        _paired(base, child, before[key], row, key, max_drop) for key, row in zip(keys, child.robustness, strict=True)
    ]
    changes, unmatched = _attribution(base, child)
    comparison = Comparison(base.model, tuple(pairs), changes, unmatched, CAUTION, _encoder(base, child))
    return replace(child, comparison=comparison, verdict=verdict(tuple(pairs), max_drop))


def _encoder(base: Audit, child: Audit) -> tuple[EncoderChange, ...]:
    """Changes of log L_hat for every norm and kind that both audits have."""
    before = {(bound.norm, bound.kind): bound for bound in base.encoder}
    return tuple(
        encoder_change(before[bound.norm, bound.kind], bound)
        for bound in child.encoder
        if (bound.norm, bound.kind) in before
    )


def check_base(base: Audit, sha256: str, samples: str, keys: Sequence[str], effort: str) -> None:
    """Refuse a base that audits of these samples (`samples` in words) at these threats cannot be compared with.

    Raises:
        DataError: other samples, a threat that the base lacks, attacks of another effort, or a base that was stopped
            at its time limit.
    """
    if base.partial:
        raise DataError(
            f"the audit of {base.model.name} was stopped at its time limit: audit it again with a longer one"
        )
    if base.data.sha256 != sha256:
        raise DataError(
            f"the audits are of different samples ({base.data.name}, {base.data.samples} and {samples}): audit both "
            "models with the same data, samples and seed"
        )
    measured = {threat_key(row.norm, row.epsilon) for row in base.robustness}
    for key in keys:
        if key not in measured:
            raise DataError(f"the base was not audited at {key}: audit both models with the same norms and radii")
    if base.settings.effort != effort:
        raise DataError(
            f"the base was attacked with effort {base.settings.effort!r}, the model with {effort!r}: use the same "
            "effort for both, or the attack's strength would pass for a change of robustness"
        )


def verdict(pairs: Sequence[Paired], max_drop: float) -> Verdict:
    """Brittle if any threat's interval lies above the tolerance, not brittle if all lie below, else undecided."""
    answers = [pair_verdict(pair.interval95, max_drop) for pair in pairs]
    return Verdict(
        any_verdict(answers), tuple(_sentence(p, a, max_drop) for p, a in zip(pairs, answers, strict=True)), max_drop
    )


def any_verdict(answers: Sequence[bool | None]) -> bool | None:
    """All threats together: True if any is True, False if there are some and all are False, else None."""
    if any(answers):
        return True
    return False if answers and all(answer is False for answer in answers) else None


def pair_verdict(interval95: tuple[float, float], max_drop: float) -> bool | None:
    """One threat by its interval in points: True above the tolerance, False below it, None where it holds it."""
    low, high = interval95
    return True if low > max_drop else False if high < max_drop else None


def _sentence(pair: Paired, answer: bool | None, max_drop: float) -> str:
    low, high = pair.interval95
    where = f"{pair.norm} {pair.epsilon:g}: drop {pair.drop_points:+.1f} points, 95 % interval [{low:.1f}, {high:.1f}]"
    if answer is not None:
        return f"{where}, {'above' if answer else 'below'} the tolerance of {max_drop:g} points ({pair.n} samples)"
    more = f"about {pair.samples_to_decide} would decide" if pair.samples_to_decide else "the drop is at the tolerance"
    return f"{where}, undecided against {max_drop:g} points on {pair.n} samples; {more}"


def pooled_drop(
    bases: Sequence[Audit], children: Sequence[Audit], key: str, seed: int
) -> tuple[float, tuple[float, float]]:
    """Mean drop in points over repeats of one method (child i against base i), and its two-level interval.

    Raises:
        DataError: an audit lacks the outcomes of `key`.
    """
    before, after = (np.stack([outcomes(a, key) for a in audits]) for audits in (bases, children))
    drop = 100.0 * float((before.mean(1) - after.mean(1)).mean())
    if len(before) == 1:
        return drop, paired_drop_interval(before[0], after[0], seed)
    return drop, two_level_interval(before, after, seed)


def outcomes(audit: Audit, key: str) -> NDArray[np.bool_]:
    """Which samples were right under `key` ("clean", "linf@0.05", ...), (n,) bool.

    Raises:
        DataError: the audit has no such outcomes.
    """
    if key not in audit.outcomes.right:
        raise DataError(
            f"the audit of {audit.model.name} has no outcomes {key!r}: it holds {', '.join(audit.outcomes.right)}"
        )
    return np.frombuffer(audit.outcomes.right[key].encode("ascii"), dtype=np.uint8) == ord("1")


def _paired(base: Audit, child: Audit, before: Robustness, after: Robustness, key: str, max_drop: float) -> Paired:
    a, b = outcomes(base, key), outcomes(child, key)
    clean_a, clean_b = outcomes(base, "clean"), outcomes(child, "clean")
    noise_a, noise_b = outcomes(base, f"noise:{key}"), outcomes(child, f"noise:{key}")
    drop, interval = _points(a, b), paired_drop_interval(a, b, child.seed)
    one_point = samples_for_half_width(a, b, 1.0)
    ratio = before.attacked / before.clean - after.attacked / after.clean if before.clean and after.clean else None
    return Paired(
        norm=after.norm,
        epsilon=after.epsilon,
        n=len(a),
        base_robust=before.attacked,
        robust=after.attacked,
        drop_points=drop,
        interval95=interval,
        clean_drop_points=_points(clean_a, clean_b),
        clean_interval95=paired_drop_interval(clean_a, clean_b, child.seed),
        noise_drop_points=_points(noise_a, noise_b),
        ratio_drop=ratio,
        lost=int((a & ~b).sum()),
        gained=int((~a & b).sum()),
        samples_for_1_point=one_point,
        per_class=_per_class(a, b, child),
        samples_to_decide=_to_decide(drop, interval, one_point, max_drop, len(a)),
    )


def _points(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    return 100.0 * (float(before.mean()) - float(after.mean()))


def _per_class(before: NDArray[np.bool_], after: NDArray[np.bool_], child: Audit) -> dict[str, float]:
    labels = np.array(child.outcomes.labels)
    members = {name: labels == i for i, name in enumerate(child.data.classes)}
    return {name: _points(before[own], after[own]) for name, own in members.items() if own.any()}


def _to_decide(drop: float, interval: tuple[float, float], one_point: int, max_drop: float, n: int) -> int | None:
    distance = abs(drop - max_drop)
    if pair_verdict(interval, max_drop) is not None or distance < 0.01:
        return None
    # A lopsided interval may hold the tolerance although the symmetric planning formula says that n is enough.
    return max(ceil(one_point / distance**2), n + 1)


def _attribution(base: Audit, child: Audit) -> tuple[tuple[LayerChange, ...], tuple[str, ...]]:
    before = {layer.name: layer for layer in base.layers}
    after = {layer.name: layer for layer in child.layers}
    changes = []
    unmatched = [name for name in (*before, *after) if (name in before) != (name in after)]
    for name in (n for n in before if n in after):
        a, b = before[name], after[name]
        values = (a.scale, b.scale, a.structure.linf, b.structure.linf, a.structure.l2, b.structure.l2)
        if min(values) <= 0 or a.on_input != b.on_input:
            unmatched.append(name)  # a zero layer has no logarithm; maps and bare matrices do not compare
            continue
        changes.append(
            LayerChange(
                name,
                log(b.scale) - log(a.scale),
                log(b.structure.linf) - log(a.structure.linf),
                log(b.structure.l2) - log(a.structure.l2),
            )
        )
    return tuple(changes), tuple(unmatched)
