"""The Python front door: whatever data comes as, bad input before any work, and the model back as it was."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import brittle
from brittle import api
from brittle.auditing.run import Subject
from brittle.data.dataset import Dataset
from brittle.data.split import Split
from brittle.errors import BrittleError, DataError, ModelError, UsageError
from brittle.models.recipe import Recipe, build
from brittle.results.audit import Audit
from tests.auditing.made import SHAPE, dataset, linear_net, relu_net, samples

EPSILON = {"linf": 0.03}
QUICK: dict[str, Any] = {"norm": "linf", "epsilon": EPSILON, "effort": "quick", "batch_size": 16}


def kinds() -> dict[str, Any]:
    x, y = samples(40)
    return {
        "tuple": (x, y),
        "list": [x, y],
        "loader": DataLoader(TensorDataset(x, y), batch_size=7),
        "split": Split(x, y),
        "dataset": dataset(40),
    }


@pytest.mark.parametrize("kind", kinds())
def test_data_may_come_in_many_forms_with_the_same_result(kind: str) -> None:
    given = brittle.audit(linear_net(), kinds()[kind], **QUICK)
    assert isinstance(given, Audit)
    first = brittle.audit(linear_net(), dataset(40), **QUICK)
    assert given.data.sha256 == first.data.sha256
    assert given.outcomes == first.outcomes
    assert given.robustness == first.robustness


def test_data_may_be_a_string() -> None:
    net = build(Recipe("mlp", (1, 8, 8), 10, {"depth": 0}), seed=0)
    audit = brittle.audit(net, "digits", samples=20, **QUICK)
    assert (audit.data.name, audit.data.samples, audit.model.name) == ("digits", 20, "model")


def test_against_a_module_or_its_audit_is_the_same() -> None:
    base, child = linear_net(), linear_net(clutter=2.0)
    by_module = brittle.audit(child, dataset(), against=base, name="child", **QUICK)
    by_audit = brittle.audit(child, dataset(), against=brittle.audit(base, dataset(), name="base", **QUICK), **QUICK)
    assert by_module.comparison is not None
    assert by_module.comparison == by_audit.comparison
    assert by_module.verdict == by_audit.verdict
    assert by_module.comparison.base.name == "base"
    assert by_module.model.name == "child"
    assert by_module.verdict is not None
    assert by_module.verdict.brittle is True  # clutter that strong costs robustness for sure


def test_max_drop_decides_the_verdict() -> None:
    audit = brittle.audit(linear_net(clutter=2.0), dataset(), against=linear_net(), max_drop=99.0, **QUICK)
    assert audit.verdict is not None
    assert (audit.verdict.brittle, audit.verdict.max_drop_points) == (False, 99.0)


def test_radii_come_as_numbers_or_lists_of_any_kind() -> None:
    for radii in (0.1, [0.1], (0.1,), np.float32(0.5), np.array([0.05, 0.1])):
        audit = brittle.audit(linear_net(), dataset(), norm="linf", epsilon={"linf": radii}, effort="quick")
        assert [row.epsilon for row in audit.robustness] == np.atleast_1d(radii).tolist()


def test_progress_tells_which_model_it_is_about() -> None:
    stages: list[str] = []
    brittle.audit(
        linear_net(), dataset(), against=linear_net(), progress=lambda stage, *rest: stages.append(stage), **QUICK
    )
    assert any(stage.startswith("base: ") for stage in stages)
    assert any(not stage.startswith("base: ") for stage in stages)


# Refusals come before any attack


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def audit_one(subject: Subject, *rest: object, **more: object) -> Audit:
        raise AssertionError(f"{subject.name} was audited before the input was refused")

    monkeypatch.setattr(api, "audit_one", audit_one)


def broken() -> nn.Module:
    model = linear_net()
    with torch.no_grad():
        next(model.parameters())[0, 0] = torch.nan
    return model


def wide() -> nn.Module:
    return build(Recipe("mlp", (3, 8, 8), 3, {"depth": 0}))


def partial_audit() -> Audit:
    from dataclasses import replace

    return replace(brittle.audit(linear_net(), dataset(), **QUICK), partial=True)


BASE = {
    "other samples": (30, {}),
    "other radius": (40, {"epsilon": {"linf": 0.2}}),
    "effort": (40, {"effort": "standard"}),
}


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"norm": "l1"}, UsageError, "unknown norm 'l1': expected linf, l2 or both"),
        ({"epsilon": 0.1}, UsageError, "epsilon must map norms to radii in pixel units, such as .*, got 0.1"),
        ({"epsilon": {"linf": "big"}}, UsageError, "epsilon must map norms to radii"),
        ({"epsilon": {"linf": -1}}, UsageError, "epsilon must be a positive number"),
        ({"epsilon": {"l2": 0.5}}, UsageError, "no radius given for linf"),
        ({"effort": "heroic"}, UsageError, "unknown effort 'heroic'"),
        ({"model": "a.pt"}, UsageError, r"model must be an nn.Module .*, got a str: load a file with brittle\.load"),
        ({"against": "base.json"}, UsageError, "against must be an nn.Module .*, got a str"),
        ({"model": broken()}, ModelError, "weight 'head.weight' holds NaN or infinity in 1 of 48 entries"),
        ({"model": wide()}, ModelError, r"does not accept inputs of shape \(1, 4, 4\)"),
        ({"model": wide(), "against": linear_net()}, ModelError, "does not accept inputs"),
        ({"against": wide()}, ModelError, "does not accept inputs"),
        ({"data": "cifar100"}, DataError, "unknown data 'cifar100'"),
        ({"data": (torch.rand(3, 1, 4, 4) * 255, torch.tensor([0, 1, 2]))}, DataError, "divide by 255"),
        ({"data": (torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 9]))}, DataError, "labels from 0 to 2 .*, got"),
        ({"data": 5}, DataError, "data must be a DATA string"),
        ({"data": Dataset("d", ("a", "b"), SHAPE, ("train",), lambda name: samples(4))}, DataError, "no split 'test'"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line_before_any_work(
    no_work: None, arguments: dict[str, Any], kind: type[BrittleError], message: str
) -> None:
    given = {"model": linear_net(), "data": dataset(), **QUICK, **arguments}
    with pytest.raises(kind, match=message) as refused:
        brittle.audit(**given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("what", BASE)
def test_a_base_audit_that_cannot_be_compared_is_refused_before_any_work(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, changes = BASE[what]
    base = brittle.audit(linear_net(), dataset(n), **{**QUICK, **changes})  # type: ignore[dict-item]
    monkeypatch.setattr(api, "audit_one", lambda *rest, **more: pytest.fail("audited before the base was refused"))
    with pytest.raises(DataError):
        brittle.audit(linear_net(), dataset(), against=base, **QUICK)


def test_a_partial_base_is_refused() -> None:
    with pytest.raises(DataError, match="was stopped at its time limit"):
        brittle.audit(linear_net(), dataset(), against=partial_audit(), **QUICK)


# Questions that need no data


def test_structure_measures_the_layers_with_or_without_the_input() -> None:
    zoo = brittle.structure(relu_net())  # a zoo model knows its input
    assert [(row.name, row.shape, row.on_input) for row in zoo] == [("fc1", (6, 16), True), ("head", (3, 6), True)]
    conv = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 3))
    bare, placed = brittle.structure(conv), brittle.structure(conv, SHAPE)
    assert [row.on_input for row in bare] == [False, False]
    assert [row.on_input for row in placed] == [True, True]
    weight = conv[0].weight.detach().double()
    assert bare[0].frobenius == pytest.approx(weight.norm().item(), rel=1e-12)
    assert bare[0].norms["l2"].value == pytest.approx(torch.linalg.svdvals(weight.flatten(1))[0].item(), rel=1e-9)
    assert {row.neuron.k for row in brittle.structure(relu_net(), k=1.0)} == {6, 3}


def test_lipschitz_bounds_a_linear_map_exactly_in_both_norms() -> None:
    net = linear_net(clutter=0.1)
    weight = net.get_submodule("head").weight.detach().double()
    for norm, order in (("linf", torch.inf), ("l2", 2)):
        expected = torch.linalg.matrix_norm(weight, order).item()
        rungs = brittle.lipschitz(net, norm=norm)
        assert min(r.value for r in rungs if r.value is not None) == pytest.approx(expected, rel=1e-9)
        assert all(r.value >= expected * (1 - 1e-12) for r in rungs if r.value is not None)
    assert brittle.lipschitz(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), input_shape=SHAPE)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: brittle.structure(linear_net(), k=0.0), UsageError, r"k is a fraction .*\(0, 1\], got 0.0"),
        (lambda: brittle.structure(nn.Flatten()), ModelError, "no parameters: nothing to measure"),
        (lambda: brittle.structure(broken()), ModelError, "holds NaN or infinity"),
        (
            lambda: brittle.structure(linear_net(), (3, 8, 8)),
            ModelError,
            r"does not accept inputs of shape \(3, 8, 8\)",
        ),
        (lambda: brittle.structure("net"), UsageError, "model must be an nn.Module"),
        (lambda: brittle.lipschitz(linear_net(), norm="l1"), UsageError, "unknown norm 'l1'"),
        (lambda: brittle.lipschitz(nn.Linear(3, 2)), UsageError, "input shape is not known: pass input_shape="),
        (lambda: brittle.lipschitz(broken()), ModelError, "holds NaN or infinity"),
    ],
)
def test_questions_refuse_bad_input(call: Any, kind: type[BrittleError], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


# The package itself


def test_every_public_name_is_there_and_unknown_ones_are_not() -> None:
    assert set(brittle.__all__) <= set(dir(brittle))
    for name in brittle.__all__:
        assert getattr(brittle, name) is not None
    with pytest.raises(AttributeError, match="module 'brittle' has no attribute 'harden'"):
        _ = brittle.harden


def test_importing_the_package_loads_no_torch_and_names_survive_first_use() -> None:
    code = (
        "import brittle, sys; assert 'torch' not in sys.modules; "
        "first = brittle.structure; assert brittle.structure is first is brittle.api.structure; "
        "import brittle.auditing.run, brittle.compare; assert callable(brittle.structure) and callable(brittle.audit)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
