"""Paired numbers against numpy, the verdict's rule at its edges, and an attribution that adds up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from brittle.compare import any_verdict, check_base, compare, outcomes, pair_verdict, pooled_drop, verdict
from brittle.errors import DataError
from brittle.results.audit import Audit, Paired
from brittle.results.robustness import Outcomes, threat_key
from tests.made_audits import made_audit
from tests.small_nets import low_rank, quick_audit

KEYS = ("linf@0.05", "l2@0.5")


@pytest.fixture(scope="module")
def compared() -> Audit:
    return compare(quick_audit("trained"), quick_audit("low_rank"), 2.0)


def bits(audit: Audit, key: str) -> np.ndarray:
    return np.array([int(bit) for bit in audit.outcomes.right[key]])


def test_paired_numbers_are_those_of_numpy(compared: Audit) -> None:
    base = quick_audit("trained")
    assert compared.comparison is not None
    assert compared.comparison.base == base.model
    for pair, key in zip(compared.comparison.paired, KEYS, strict=True):
        before, after = bits(base, key), bits(compared, key)
        assert threat_key(pair.norm, pair.epsilon) == key
        assert pair.n == len(before) == 60
        assert (pair.base_robust, pair.robust) == (before.mean(), after.mean())
        assert pair.drop_points == pytest.approx(100 * (before - after).mean(), abs=1e-12)
        assert (pair.lost, pair.gained) == (((before - after) == 1).sum(), ((before - after) == -1).sum())
        clean = bits(base, "clean").mean(), bits(compared, "clean").mean()
        assert pair.clean_drop_points == pytest.approx(100 * (clean[0] - clean[1]), abs=1e-12)
        noise = bits(base, f"noise:{key}").mean() - bits(compared, f"noise:{key}").mean()
        assert pair.noise_drop_points == pytest.approx(100 * noise, abs=1e-12)
        assert pair.ratio_drop == pytest.approx(before.mean() / clean[0] - after.mean() / clean[1], abs=1e-12)
        labels = np.array(base.outcomes.labels)
        assert pair.per_class == pytest.approx(
            {str(c): 100 * (before - after)[labels == c].mean() for c in np.unique(labels)}, abs=1e-12
        )


def test_the_interval_is_near_the_normal_one_and_holds_the_drop(compared: Audit) -> None:
    base = quick_audit("trained")
    assert compared.comparison is not None
    for pair, key in zip(compared.comparison.paired, KEYS, strict=True):
        change = bits(base, key) - bits(compared, key)
        half = 100 * 1.96 * change.std() / math.sqrt(len(change))
        low, high = pair.interval95
        assert low < pair.drop_points < high
        assert (high - low) / 2 == pytest.approx(half, rel=0.15)


def test_the_rest_of_the_child_stays(compared: Audit) -> None:
    assert replace(compared, comparison=None, verdict=None) == quick_audit("low_rank")


@pytest.mark.parametrize(
    ("interval", "answer"),
    [
        ((2.1, 5.0), True),
        ((-1.0, 1.9), False),
        ((1.0, 3.0), None),
        ((2.0, 5.0), None),  # at the tolerance is not above it
        ((-1.0, 2.0), None),  # nor below it
        ((2.0, 2.0), None),
    ],
)
def test_one_threats_verdict_at_its_edges(interval: tuple[float, float], answer: bool | None) -> None:
    assert pair_verdict(interval, 2.0) is answer


@given(st.lists(st.sampled_from([True, False, None]), max_size=6))
def test_all_threats_together(answers: list[bool | None]) -> None:
    together = any_verdict(answers)
    assert (together is True) == (True in answers)
    assert (together is False) == (set(answers) == {False})


def pairs(*intervals: tuple[float, float], drop: float = 3.0) -> list[Paired]:
    audit = made_audit("low-rank")
    assert audit.comparison is not None
    made = audit.comparison.paired[0]
    return [replace(made, drop_points=drop, interval95=interval) for interval in intervals]


def test_the_verdict_gives_a_reason_for_each_threat() -> None:
    found = verdict(pairs((2.5, 4.0), (-1.0, 1.0), (1.0, 3.0)), 2.0)
    assert found.brittle is True
    assert found.max_drop_points == 2.0
    above, below, open_ = found.why
    assert "drop +3.0 points, 95 % interval [2.5, 4.0], above the tolerance of 2 points (500 samples)" in above
    assert "[-1.0, 1.0], below the tolerance of 2 points" in below
    assert "undecided against 2 points on 500 samples; about 9876 would decide" in open_
    assert verdict(pairs((-1.0, 1.0)), 2.0).brittle is False
    assert verdict(pairs((-1.0, 1.0), (1.0, 3.0)), 2.0).brittle is None
    assert verdict([], 2.0).brittle is None, "nothing measured is not robust"
    (at,) = verdict([replace(pairs((1.0, 3.0), drop=2.0)[0], samples_to_decide=None)], 2.0).why
    assert at.endswith("the drop is at the tolerance")


def with_outcomes(audit: Audit, right: dict[str, np.ndarray]) -> Audit:
    strings = {key: "".join(str(int(bit)) for bit in values) for key, values in right.items()}
    return replace(audit, outcomes=Outcomes(strings, audit.outcomes.labels))


def test_the_samples_that_would_decide_follow_the_square_root_law() -> None:
    base, child = made_audit("original"), made_audit("neuron-pruned")
    assert child.comparison is not None
    for pair in compare(base, replace(child, comparison=None, verdict=None), 2.0).comparison.paired:  # type: ignore[union-attr]
        if pair.samples_to_decide is None:
            continue
        before, after = (bits(a, threat_key(pair.norm, pair.epsilon)) for a in (base, child))
        p = np.array([(before > after).sum() + 1, (before < after).sum() + 1]) / (len(before) + 2)
        variance = p.sum() - (p[0] - p[1]) ** 2
        needed = stats.norm.ppf(0.975) ** 2 * variance / ((pair.drop_points - 2.0) / 100) ** 2
        assert pair.samples_to_decide == pytest.approx(max(needed, pair.n + 1), rel=0.01, abs=2)
        assert pair.samples_to_decide > pair.n


def test_a_drop_at_the_tolerance_can_never_be_decided_and_a_decided_one_needs_no_more() -> None:
    base = quick_audit("trained")
    same = compare(base, base, 0.0)
    assert same.comparison is not None
    assert all(pair.drop_points == 0 and pair.samples_to_decide is None for pair in same.comparison.paired)
    generous = compare(base, base, 50.0)
    assert generous.comparison is not None
    assert generous.verdict is not None
    assert generous.verdict.brittle is False
    assert all(pair.samples_to_decide is None for pair in generous.comparison.paired)


def test_a_base_with_no_right_answer_has_no_ratio_and_still_a_verdict() -> None:
    base, child = quick_audit("trained"), quick_audit("low_rank")
    nothing = with_outcomes(base, {key: np.zeros(60) for key in base.outcomes.right})
    nothing = replace(nothing, robustness=tuple(replace(r, clean=0.0, attacked=0.0) for r in base.robustness))
    found = compare(nothing, child, 2.0)
    assert found.comparison is not None
    assert all(pair.ratio_drop is None for pair in found.comparison.paired)
    assert all(pair.drop_points <= 0 for pair in found.comparison.paired)
    Audit.from_dict(found.to_dict())


# Which audits can be compared

REFUSED: dict[str, tuple[Callable[[Audit], Audit], Callable[[Audit], Audit], str]] = {
    "samples": (lambda a: replace(a, data=replace(a.data, sha256="0" * 64)), lambda a: a, r"different samples .*same"),
    "radii": (lambda a: replace(a, robustness=a.robustness[:1]), lambda a: a, r"not audited at l2@0\.5: audit both"),
    "effort": (
        lambda a: replace(a, settings=replace(a.settings, effort="thorough")),
        lambda a: a,
        "effort 'thorough', the model with 'quick': use the same effort",
    ),
    "partial base": (lambda a: replace(a, partial=True), lambda a: a, "audit of trained was stopped at its time limit"),
    "partial child": (lambda a: a, lambda a: replace(a, partial=True), "audit of low_rank was stopped at its time"),
    "outcomes": (
        lambda a: replace(a, outcomes=replace(a.outcomes, right={})),
        lambda a: a,
        "audit of trained has no outcomes 'linf@0.05'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("base", "child", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_audits_that_do_not_belong_together_are_refused(
    base: Callable[[Audit], Audit], child: Callable[[Audit], Audit], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        compare(base(quick_audit("trained")), child(quick_audit("low_rank")), 2.0)


def test_a_base_may_have_been_measured_at_more_radii_than_the_child() -> None:
    child = quick_audit("low_rank")
    found = compare(quick_audit("trained"), replace(child, robustness=child.robustness[1:]), 2.0)
    assert found.comparison is not None
    assert [pair.norm for pair in found.comparison.paired] == ["l2"]


def test_check_base_takes_what_fits() -> None:
    base = quick_audit("trained")
    check_base(base, base.data.sha256, "digits", KEYS, "quick")


# The attribution

Norms = dict[str, dict[str, float]]


def log_norms(audit: Audit) -> Norms:
    return {layer.name: {p: math.log(bound.value) for p, bound in layer.norms.items()} for layer in audit.layers}


def test_scale_and_structure_add_up_to_the_change_of_each_layers_log_norm(compared: Audit) -> None:
    assert compared.comparison is not None
    before, after = log_norms(quick_audit("trained")), log_norms(compared)
    assert {change.layer for change in compared.comparison.attribution} == {"fc1", "fc2", "head"}
    assert compared.comparison.unmatched == ()
    for change in compared.comparison.attribution:
        for p in ("linf", "l2"):
            total = change.log_scale + getattr(change, f"log_structure_{p}")
            assert total == pytest.approx(after[change.layer][p] - before[change.layer][p], abs=1e-12)


def test_the_layers_add_up_to_the_change_of_the_product_of_norms(compared: Audit) -> None:
    assert compared.comparison is not None
    for p in ("linf", "l2"):
        products = [
            math.prod(layer.norms[p].value for layer in audit.layers) for audit in (quick_audit("trained"), compared)
        ]
        change = sum(c.log_scale + getattr(c, f"log_structure_{p}") for c in compared.comparison.attribution)
        assert change == pytest.approx(math.log(products[1]) - math.log(products[0]), abs=1e-12)


def test_truncated_layers_lose_scale_by_what_the_svd_drops(compared: Audit) -> None:
    """Independent: the Frobenius norm of a rank-4 truncation is the length of the four largest singular values."""
    base = {layer.name: layer for layer in quick_audit("trained").layers}
    assert compared.comparison is not None
    for change in compared.comparison.attribution:
        if change.layer != "head":
            sigma = np.array(base[change.layer].singular_values)
            expected = math.log(np.linalg.norm(sigma[:4]) / np.linalg.norm(sigma))
            assert change.log_scale == pytest.approx(expected, abs=1e-5)
    assert low_rank().get_submodule("fc1").second.weight.shape == (24, 4)  # type: ignore[union-attr]


def test_layers_without_a_counterpart_are_listed() -> None:
    base, child = quick_audit("trained"), quick_audit("low_rank")
    renamed = replace(child, layers=(replace(child.layers[0], name="new"), *child.layers[1:]))
    found = compare(base, renamed, 2.0).comparison
    assert found is not None
    assert set(found.unmatched) == {base.layers[0].name, "new"}
    assert {change.layer for change in found.attribution} == {layer.name for layer in child.layers[1:]}


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: replace(layer, scale=0.0, structure=replace(layer.structure, linf=0.0, l2=0.0)),
        lambda layer: replace(layer, on_input=False),
    ],
    ids=["zero layer", "matrix against map"],
)
def test_layers_that_have_no_logarithm_or_another_meaning_are_listed_too(change: Callable[[Any], Any]) -> None:
    base, child = quick_audit("trained"), quick_audit("low_rank")
    changed = replace(child, layers=(change(child.layers[0]), *child.layers[1:]))
    found = compare(base, changed, 2.0).comparison
    assert found is not None
    assert found.unmatched == (child.layers[0].name,)


# Several seeds


def test_the_pooled_drop_of_one_seed_is_the_paired_one(compared: Audit) -> None:
    base, child = quick_audit("trained"), quick_audit("low_rank")
    assert compared.comparison is not None
    drop, interval = pooled_drop([base], [child], "linf@0.05", child.seed)
    assert drop == pytest.approx(compared.comparison.paired[0].drop_points, abs=1e-12)
    assert interval == compared.comparison.paired[0].interval95


def test_the_pooled_drop_is_the_mean_over_seeds_and_its_interval_covers_their_scatter() -> None:
    base, children = quick_audit("trained"), [quick_audit("low_rank"), quick_audit("pruned")]
    drops = [100 * (bits(base, "clean") - bits(child, "clean")).mean() for child in children]
    drop, (low, high) = pooled_drop([base, base], children, "clean", 0)
    assert drop == pytest.approx(np.mean(drops), abs=1e-12)
    half = stats.t.ppf(0.975, 1) * np.std(drops, ddof=1) / math.sqrt(2)
    assert low <= max(-100.0, drop - half) + 1e-9
    assert high >= min(100.0, drop + half) - 1e-9


def test_outcomes_are_booleans_in_order_and_unknown_keys_are_refused() -> None:
    audit = with_outcomes(quick_audit("trained"), {"clean": np.array([1, 0, 0, 1])})
    np.testing.assert_array_equal(outcomes(audit, "clean"), [True, False, False, True])
    with pytest.raises(DataError, match="audit of trained has no outcomes 'l2@9': it holds clean"):
        outcomes(audit, "l2@9")
