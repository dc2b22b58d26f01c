"""Finished audits are reused, and only when everything they depend on is the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from brittle.auditing import store
from brittle.auditing.run import Subject
from brittle.auditing.store import audit_kept, fingerprint
from brittle.errors import UsageError
from brittle.results.audit import Audit
from tests.auditing.made import OPTIONS, dataset, linear_net, relu_net


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that were really audited."""
    names: list[str] = []
    real = store.audit_one

    def counting(subject: Subject, *rest: object, **more: object) -> Audit:
        names.append(subject.name)
        return real(subject, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "audit_one", counting)
    return names


def kept(folder: Path | None, name: str = "net", **changes: object) -> Audit:
    return audit_kept(Subject(linear_net(), name), dataset(), replace(OPTIONS, **changes), folder=folder, command="c")  # type: ignore[arg-type]


def test_the_second_time_nothing_is_measured_and_the_record_is_the_same(tmp_path: Path, counted: list[str]) -> None:
    first = kept(tmp_path / "new" / "deep")
    assert kept(tmp_path / "new" / "deep") == first
    assert counted == ["net"]


def test_without_a_folder_everything_is_measured(counted: list[str]) -> None:
    kept(None), kept(None)
    assert counted == ["net", "net"]


def test_name_and_command_are_those_of_the_present_call(tmp_path: Path, counted: list[str]) -> None:
    kept(tmp_path, name="old")
    again = audit_kept(Subject(linear_net(), "new"), dataset(), OPTIONS, folder=tmp_path, command="now")
    assert (again.model.name, again.settings.command) == ("new", "now")
    assert counted == ["old"]


def truncated(text: str) -> str:
    return text[: len(text) // 2]


def one_digit(text: str) -> str:
    changed = re.sub(r'("attacked": 0\.)(\d)', lambda m: f"{m[1]}{(int(m[2]) + 1) % 10}", text, count=1)
    assert changed != text
    Audit.from_dict(json.loads(changed))  # only its hash can tell
    return changed


@pytest.mark.parametrize(
    "damage", [truncated, one_digit, lambda text: "", lambda text: '{"schema": "brittle.audit/1"}'],
    ids=["truncated", "one digit", "empty", "other record"],
)  # fmt: skip
def test_a_damaged_file_is_measured_again_and_replaced(
    tmp_path: Path, counted: list[str], damage: Callable[[str], str]
) -> None:
    first = kept(tmp_path)
    (place,) = tmp_path.iterdir()
    whole = place.read_text()
    place.write_text(damage(whole))
    again = kept(tmp_path)
    assert again.robustness == first.robustness
    assert counted == ["net", "net"]
    (place,) = tmp_path.iterdir()  # one file, whole again
    kept(tmp_path)
    assert counted == ["net", "net"]


def test_a_partial_audit_is_not_kept_but_its_parts_are_until_it_is_finished(tmp_path: Path, counted: list[str]) -> None:
    assert kept(tmp_path, time_limit=1e-6).partial
    assert not list(tmp_path.glob("*.json"))
    assert len(list(tmp_path.glob("audit-*-parts"))) == 1
    assert not kept(tmp_path).partial
    assert len(list(tmp_path.glob("*.json"))) == 1
    assert not list(tmp_path.glob("audit-*-parts"))
    assert counted == ["net", "net"]


def test_the_fingerprint_hangs_on_everything_that_numbers_depend_on() -> None:
    changes: dict[str, object] = {
        "epsilon": {"linf": (0.2,)},
        "norms": ("l2",),
        "effort": "standard",
        "k_fraction": 0.2,
        "seed": 1,
        "batch_size": 17,
        "dtype": torch.float32,
    }
    prints = {
        "same": fingerprint(Subject(linear_net(), "x"), dataset(), OPTIONS),
        "weights": fingerprint(Subject(linear_net(clutter=1e-3), "x"), dataset(), OPTIONS),
        "architecture": fingerprint(Subject(relu_net(), "x"), dataset(), OPTIONS),
        "samples": fingerprint(Subject(linear_net(), "x"), dataset(seed=1), OPTIONS),
        "classes": fingerprint(Subject(linear_net(), "x"), replace(dataset(), classes=("a", "b", "c")), OPTIONS),
        "notes": fingerprint(Subject(linear_net(), "x", ("loaded by position",)), dataset(), OPTIONS),
        **{
            name: fingerprint(Subject(linear_net(), "x"), dataset(), replace(OPTIONS, **{name: value}))  # type: ignore[arg-type]
            for name, value in changes.items()
        },
    }
    assert len(set(prints.values())) == len(prints), "two of these would be taken for the same audit"


def test_the_fingerprint_ignores_names_gates_and_limits() -> None:
    first = fingerprint(Subject(linear_net(), "x"), dataset(), OPTIONS)
    changed = replace(OPTIONS, max_drop=7.0, time_limit=60.0)
    assert fingerprint(Subject(linear_net(), "other name"), dataset(), changed) == first


def test_code_that_no_printed_form_shows_is_told_apart_by_what_it_computes() -> None:
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.inner = linear_net()
            self.factor = factor

        def forward(self, x: Tensor) -> Tensor:
            return self.factor * self.inner(x)

    one, two = Scaled(1.0), Scaled(2.0)
    assert str(one) == str(two)
    prints = [fingerprint(Subject(model, "x"), dataset(), OPTIONS) for model in (one, two)]
    assert prints[0] != prints[1]


def test_a_module_with_extra_state_has_a_fingerprint() -> None:
    class Extra(nn.Module):
        def __init__(self, state: str) -> None:
            super().__init__()
            self.inner = linear_net()
            self.state = state

        def get_extra_state(self) -> str:
            return self.state

    prints = [fingerprint(Subject(Extra(state), "x"), dataset(), OPTIONS) for state in ("a", "b")]
    assert prints[0] != prints[1]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot make the folder"):
        kept(tmp_path / "file")
