"""One audit command: everything is checked first, one time limit for all, each child compared with the base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from brittle.auditing.options import AuditOptions
from brittle.cli import session
from brittle.cli.session import AuditRequest, run_audits
from brittle.errors import DataError, ModelError, UsageError
from brittle.models.file import save
from tests.auditing.made import OPTIONS, linear_net, samples


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x, y = samples(200)
    np.savez("squares.npz", x=x.numpy(), y=y.numpy())
    save(linear_net(), "base.safetensors")
    save(linear_net(clutter=0.05), "child.safetensors")
    torch.save(linear_net(clutter=0.1).state_dict(), "weights.pt")
    torch.save(linear_net().state_dict(), "base.pt")
    return tmp_path


def request(*models: str, **changes: Any) -> AuditRequest:
    made = AuditRequest(models, (), None, None, "npz:squares.npz", None, "the command")
    return replace(made, **changes)


def test_the_base_comes_first_and_every_child_is_compared_with_it(work: Path) -> None:
    asked = request("child.safetensors", "base.safetensors", against="base.safetensors")
    base, child, same = run_audits(asked, OPTIONS, None)
    assert [audit.model.name for audit in (base, child, same)] == [
        "base.safetensors",
        "child.safetensors",
        "base.safetensors",
    ]
    assert base.comparison is None
    for audit in (child, same):
        assert audit.comparison is not None
        assert audit.comparison.base == base.model
        assert audit.settings.command == "the command"
    assert same.comparison is not None
    assert all(pair.drop_points == 0 for pair in same.comparison.paired)


def test_weights_go_to_the_models_that_take_them_in_order(work: Path) -> None:
    asked = request(
        "base.safetensors",
        "zoo:mlp?depth=0",
        weights=("weights.pt",),
        against="zoo:mlp?depth=0",
        against_weights="base.pt",
    )
    base, same, child = run_audits(asked, OPTIONS, None)
    assert same.outcomes == base.outcomes
    assert [layer.scale for layer in child.layers] != [layer.scale for layer in base.layers]
    with pytest.raises(UsageError, match=r"--weights weights\.pt has no MODEL that takes weights"):
        run_audits(request("base.safetensors", weights=("weights.pt",)), OPTIONS, None)


def test_everything_is_checked_before_the_first_measurement(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "audit_kept", lambda *rest, **more: pytest.fail("measured before all was checked"))
    Path("own.py").write_text(
        "from tests.cli.test_session import voting\nimport torch\n\ndef net():\n    made = voting()\n"
        "    torch.nn.init.constant_(next(made.parameters()), torch.nan)\n    return made\n"
    )
    with pytest.raises(ModelError, match="holds NaN or infinity"):
        run_audits(request("python:own:net", against="base.safetensors"), OPTIONS, None)
    with pytest.raises(UsageError, match="no radius given for linf"):
        run_audits(request("base.safetensors"), replace(OPTIONS, epsilon={"l2": (1.0,)}), None)
    broken = np.load("squares.npz")
    np.savez("squares.npz", x=np.full_like(broken["x"], np.nan), y=broken["y"])
    with pytest.raises(DataError, match="NaN or infinity"):
        run_audits(request("base.safetensors"), OPTIONS, None)


def voting() -> nn.Module:
    class Votes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear_net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).detach()

    return Votes()


def test_the_time_limit_is_for_all_audits_together(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 70.0, 200.0])  # the start, then before each of three audits
    monkeypatch.setattr(session, "monotonic", lambda: next(clock))
    limits: list[float | None] = []
    real = session.audit_kept

    def watched(subject: Any, data: Any, options: AuditOptions, **more: Any) -> Any:
        limits.append(options.time_limit)
        return real(subject, data, replace(options, time_limit=None), **more)

    monkeypatch.setattr(session, "audit_kept", watched)
    asked = request("child.safetensors", "child.safetensors", against="base.safetensors")
    run_audits(asked, replace(OPTIONS, time_limit=100.0), None)
    assert limits[:2] == [99.0, 30.0]
    assert limits[2] is not None
    assert 0 < limits[2] < 1e-3  # none left: what has not begun is marked, not run without a limit


def test_progress_names_the_model(work: Path) -> None:
    stages: list[str] = []
    run_audits(request("child.safetensors"), OPTIONS, lambda stage, *rest: stages.append(stage))
    assert stages
    assert all(stage.startswith("child.safetensors: ") for stage in stages)
