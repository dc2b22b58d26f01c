"""The CUDA path: an audit there says what it says on the CPU. Run with `pytest -m gpu` where a device is."""

from __future__ import annotations

import pytest
import torch

from brittle.auditing.options import AuditOptions
from brittle.auditing.run import Subject, audit_one
from brittle.data.load import load_data
from brittle.models.recipe import Recipe, build
from brittle.training.loop import Budget, fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def _net() -> torch.nn.Module:
    data = load_data("digits")
    net = build(Recipe("mlp", (1, 8, 8), 10, {"width": 32}), seed=0)
    return fit(net, data.split("train"), data.split("validation"), Budget(epochs=10), seed=0)


def test_an_audit_on_cuda_equals_the_one_on_the_cpu() -> None:
    data, subject = load_data("digits"), Subject(_net(), "net")
    here, there = (
        audit_one(subject, data, AuditOptions(samples=200, effort="quick", device=device)) for device in ("cpu", "cuda")
    )
    assert there.settings.device == "cuda"
    assert here.outcomes == there.outcomes
    for a, b in zip(here.robustness, there.robustness, strict=True):
        assert (a.attacked, a.certified, a.noise) == (b.attacked, b.certified, b.noise)
    for norm in here.bounds:
        assert there.bounds[norm].best == pytest.approx(here.bounds[norm].best, rel=1e-9)


def test_float32_on_cuda_stays_inside_ball_and_box() -> None:
    data, subject = load_data("digits"), Subject(_net(), "net")
    options = AuditOptions(samples=200, effort="standard", device="cuda", dtype=torch.float32)
    audit = audit_one(subject, data, options)  # the evaluator refuses answers outside ball or box
    assert all(row.certified <= row.attacked <= row.clean for row in audit.robustness)


def test_a_model_on_cuda_is_audited_on_the_cpu_and_left_where_it_was() -> None:
    net = _net().cuda()
    audit = audit_one(Subject(net, "net"), load_data("digits"), AuditOptions(samples=50, effort="quick"))
    assert audit.settings.device == "cpu"
    assert next(net.parameters()).is_cuda
