"""The brackets: records agree with the outcomes of each sample, and a broken certificate stops everything."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from brittle.auditing import certificates
from brittle.auditing.run import Subject, audit_one
from brittle.compare import outcomes
from brittle.errors import SoundnessError
from brittle.results.audit import Audit
from brittle.results.robustness import threat_key
from tests.auditing.made import OPTIONS, dataset, linear_net, relu_net, samples

RADII = {"linf": (0.03, 0.1), "l2": (0.2,)}
BOTH = replace(OPTIONS, norms=("linf", "l2"), epsilon=RADII)


@cache
def audited(kind: str) -> Audit:
    net = {"linear": linear_net, "relu": relu_net}[kind]()
    return audit_one(Subject(net, kind), dataset(), BOTH)


@pytest.mark.parametrize("kind", ["linear", "relu"])
def test_every_accuracy_is_the_mean_of_its_outcomes_and_the_bracket_is_ordered(kind: str) -> None:
    audit = audited(kind)
    clean = outcomes(audit, "clean")
    for row in audit.robustness:
        key = threat_key(row.norm, row.epsilon)
        attacked, certified, noise = (outcomes(audit, prefix + key) for prefix in ("", "certified:", "noise:"))
        assert (row.clean, row.attacked) == (clean.mean(), attacked.mean())
        assert (row.certified, row.noise) == (certified.mean(), noise.mean())
        assert bool((certified <= attacked).all())
        assert bool((attacked <= clean).all())
        assert row.interval95[0] <= row.attacked <= row.interval95[1]
        assert row.steps[-1].accuracy == row.attacked
        assert row.attack == " + ".join(step.attack for step in row.steps)
        assert row.n == len(clean) == 40
    assert audit.outcomes.labels == tuple(samples(40)[1].tolist())


def test_a_linear_classifiers_robust_accuracy_is_exact_from_both_sides() -> None:
    """Closed form: the margin over class j falls by epsilon ||w_y - w_j||_* at most, unless the pixel box helps."""
    audit = audited("linear")
    x, y = samples(40)
    W = linear_net().get_submodule("head").weight.detach().double()
    logits = x.flatten(1).double() @ W.T
    for row in audit.robustness:
        order = 1 if row.norm == "linf" else 2
        loss = torch.cdist(W, W, p=float(order))[y] * row.epsilon
        margins = logits.gather(1, y[:, None]) - logits - loss
        margins.scatter_(1, y[:, None], torch.inf)
        robust = (margins.amin(1) > 0).numpy()
        key = threat_key(row.norm, row.epsilon)
        np.testing.assert_array_equal(outcomes(audit, f"certified:{key}"), robust)
        assert bool((outcomes(audit, key) >= robust).all())
        if row.epsilon == 0.03:  # few pixels are so near the edge of the box: the attack reaches the closed form
            assert (outcomes(audit, key) != robust).mean() <= 0.05


@pytest.mark.parametrize("kind", ["linear", "relu"])
def test_measured_risk_lies_below_its_bound_and_grows_with_the_radius(kind: str) -> None:
    gaps = audited(kind).gaps
    assert [(gap.norm, gap.epsilon) for gap in gaps] == [("linf", 0.03), ("linf", 0.1), ("l2", 0.2)]
    for gap in gaps:
        assert gap.bound is not None
        assert 0 <= gap.measured <= gap.bound
    assert gaps[0].measured < gaps[1].measured


def test_a_flipped_certified_sample_stops_the_audit_and_carries_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "certified_radii", lambda logits, *rest: torch.full((len(logits),), 9.0))
    with pytest.raises(
        SoundnessError, match=r"certified samples were flipped by an attack at linf 0\.1, .* bug"
    ) as bug:
        audit_one(Subject(linear_net(), "net"), dataset(), OPTIONS)
    report = bug.value.report
    assert report["norm"] == "linf"
    assert report["epsilon"] == 0.1
    first = report["samples"][0]  # type: ignore[index]
    x, y = samples(40)
    assert report["label"] == int(y[first])
    np.testing.assert_allclose(report["x"], x[first].flatten(), rtol=1e-6)  # type: ignore[arg-type]
    moved = np.abs(np.array(report["x_adv"]) - np.array(report["x"])).max()
    assert 0 < moved <= 0.1


def test_at_the_time_limit_what_is_missing_is_marked() -> None:
    audit = audit_one(Subject(relu_net(), "net"), dataset(), replace(BOTH, time_limit=1e-6))
    assert audit.partial
    assert audit.gaps == ()
    for row in audit.robustness:
        assert row.attack.endswith("(stopped)")
        assert row.certified <= row.attacked == row.clean
    assert Audit.from_dict(audit.to_dict()) == audit
