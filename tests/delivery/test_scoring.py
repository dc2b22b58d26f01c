"""All networks get the numbers that their audits would give, whichever way they are scored."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import torch

from brittle.auditing.options import AuditOptions
from brittle.auditing.run import Subject, audit_one
from brittle.data.load import load_data
from brittle.delivery.scoring import Scoring, scored_by
from brittle.evaluation.intervals import wilson
from tests.small_nets import pruned, trained

OPTIONS = AuditOptions(
    norms=("linf",), epsilon={"linf": (0.03, 0.1)}, samples=150, effort="quick", directions=0, seed=3
)


def test_a_score_is_what_the_audit_says() -> None:
    data = load_data("digits")
    scoring = Scoring.of(trained(), data, OPTIONS, None)
    for net in (trained(), pruned()):
        audit = audit_one(Subject(net, "net"), data, scoring.options)
        found = scoring.score(net, "net")
        assert found == scored_by(audit)
        assert scoring.complete(found)
        assert [row.epsilon for row in found.robust] == [0.03, 0.1]


def test_clean_accuracy_is_the_share_of_right_answers() -> None:
    data = load_data("digits")
    split = data.split("test").take(150, 3)
    net = pruned()
    with torch.no_grad():
        right = int((net(split.x).argmax(1) == split.y).sum())
    found = Scoring.of(trained(), data, OPTIONS, None).score(net, "net")
    assert (found.n, found.clean, found.clean_interval95) == (150, right / 150, wilson(right, 150))
    assert all(row.attacked <= found.clean for row in found.robust)


def test_all_networks_get_the_parents_number_format() -> None:
    data = load_data("digits")
    assert Scoring.of(trained(), data, OPTIONS, None).options.dtype == torch.float64
    single = AuditOptions(norms=("linf",), epsilon={"linf": (0.03,)}, samples=10, effort="quick", dtype=torch.float32)
    assert Scoring.of(trained(), data, single, None).options.dtype == torch.float32


def test_a_deadline_leaves_radii_out_rather_than_half_attacked() -> None:
    scoring = Scoring.of(trained(), load_data("digits"), OPTIONS, None)
    found = scoring.score(trained(), "net", deadline=monotonic() - 1)
    assert found.robust == ()
    assert not scoring.complete(found)
    assert 0.8 < found.clean <= 1


def test_a_partial_audit_gives_its_clean_accuracy_alone() -> None:
    data = load_data("digits")
    limited = AuditOptions(**{**vars(OPTIONS), "time_limit": 1e-6})
    audit = audit_one(Subject(trained(), "net"), data, limited)
    assert audit.partial
    assert scored_by(audit).robust == ()
    assert scored_by(audit).clean == audit.robustness[0].clean


def test_finished_attacks_are_not_run_again(tmp_path: Path) -> None:
    data = load_data("digits")
    told: list[str] = []
    scoring = Scoring.of(trained(), data, OPTIONS, tmp_path)
    first = scoring.score(pruned(), "net", progress=lambda stage, done, total: told.append(stage))
    assert told
    told.clear()
    assert scoring.score(pruned(), "net", progress=lambda stage, done, total: told.append(stage)) == first
    assert told == []
