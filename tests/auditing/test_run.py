"""One model through the whole audit: repeatable, independent of the batch size, and the model comes back as it was."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from brittle.auditing.run import Subject, audit_one
from brittle.errors import ModelError
from brittle.results.audit import Audit
from brittle.results.serialise import dumps
from tests.auditing.made import OPTIONS, dataset, linear_net, relu_net
from tests.small_nets import QUICK, trained

SECONDS = ("seconds", "command")


def audited(model: nn.Module, **changes: Any) -> Audit:
    return audit_one(Subject(model, "net"), dataset(), replace(OPTIONS, **changes))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text of a JSON value with its place, without clocks."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in SECONDS:
                yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{i}]")
    else:
        yield path, value


def test_the_same_audit_twice_is_the_same_record_whatever_the_global_random_state() -> None:
    torch.manual_seed(1)
    first = dict(leaves(audited(relu_net()).to_dict()))
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    second = dict(leaves(audited(relu_net()).to_dict()))
    assert first == second
    assert torch.equal(torch.random.get_rng_state(), state), "the global random state is the user's"


def test_another_seed_is_another_search() -> None:
    first, second = (audited(relu_net(), seed=seed) for seed in (0, 1))
    assert first.examples != second.examples


def test_no_result_hangs_on_the_batch_size() -> None:
    from brittle.data.load import load_data

    data, options = load_data("digits"), replace(QUICK, samples=40)
    first, *others = (
        dict(leaves(audit_one(Subject(trained(), "net"), data, replace(options, batch_size=b)).to_dict()))
        for b in (7, 256, 1000)
    )
    for other in others:
        assert first.keys() == other.keys()
        for path, value in first.items():
            if path != ".settings.batch_size" and not path.endswith("_png"):
                expected = pytest.approx(value, rel=1e-6, abs=1e-6) if isinstance(value, float) else value
                assert other[path] == expected, path


@pytest.mark.parametrize("batch_size", [3, 7])
def test_the_model_never_sees_more_than_a_batch(batch_size: int) -> None:
    model, seen = relu_net(), set()

    def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if type(inputs[0]) is Tensor:  # tracing passes stand-ins without numbers, which cost nothing
            seen.add(int(inputs[0].shape[0]))

    model.register_forward_pre_hook(watch)
    audit_one(Subject(model, "net"), dataset(), replace(OPTIONS, batch_size=batch_size), progress=lambda *event: None)
    assert max(seen) == batch_size


class Traps(nn.Module):
    """Everything a careless audit would disturb: modes, flags, gradients, hooks, buffers, its own format."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = relu_net().double()
        self.norm = nn.BatchNorm1d(3).double()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.norm(self.inner(x))
        return logits


def test_the_model_comes_back_as_it_was() -> None:
    model = Traps().train()
    model.inner.eval()  # modes differ between submodules
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 2 == 0)
    grads = [p.grad for p in model.parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    identities = [id(p) for p in model.parameters()]
    hooks: list[int] = []
    handle = model.register_forward_hook(lambda module, inputs, output: hooks.append(id(module)))
    audit = audited(model)
    assert model.calls == 0, "only the copy is run"
    assert id(model) not in hooks
    assert list(model._forward_hooks) == [handle.id]
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == flags
    assert [p.grad for p in model.parameters()] == grads == [None] * len(grads)
    assert [id(p) for p in model.parameters()] == identities
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    findings = [check for check in audit.preflight if check.check == "evaluation mode"]
    assert [check.verdict for check in findings] == ["warning"], "train mode is told once, and not called ok beside it"


def test_a_model_in_train_mode_is_measured_in_eval_mode() -> None:
    model = nn.Sequential(relu_net(), nn.Dropout(0.9), nn.BatchNorm1d(3))
    evaluated = audited(model.eval())
    assert audited(model.train()).outcomes == evaluated.outcomes
    assert model.training
    assert all(module.training for module in model.modules())


def test_a_model_with_zero_weights_gives_numbers_that_json_can_hold() -> None:
    model = relu_net()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    audit = audited(model, norms=("linf", "l2"), epsilon={"linf": (0.1,), "l2": (0.5,)})
    assert all(math.isfinite(value) for _, value in leaves(audit.to_dict()) if isinstance(value, float))
    assert json.loads(dumps(audit))["robustness"]
    assert all(row.attacked == row.clean for row in audit.robustness)  # always class 0, which nothing can change


def test_bounds_beyond_float64_are_reported_as_missing_not_as_infinity() -> None:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(16, 16)]
    for _ in range(12):  # every product of neighbours is zero, every norm is 1e30: the net is constant
        layer = nn.Linear(16, 16)
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[:8, 8:] = 1e30 * torch.eye(8)
        layers += [layer, nn.ReLU()]
    audit = audited(nn.Sequential(*layers, nn.Linear(16, 3)))
    product = audit.bounds["linf"].ladder[0]
    assert product.value is None
    assert all(math.isfinite(value) for _, value in leaves(audit.to_dict()) if isinstance(value, float))
    dumps(audit)


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.Identity()], ids=["probabilities", "logits"])
def test_probabilities_are_noticed(last: nn.Module) -> None:
    found = {check.check: check.verdict for check in audited(nn.Sequential(relu_net(), last)).preflight}
    assert found["logits, not probabilities"] == ("warning" if isinstance(last, nn.Softmax) else "ok")


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = relu_net()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits + torch.randn_like(logits)


def test_what_would_make_every_number_meaningless_is_an_error_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"two forward passes differ .*: random layers stay active") as refused:
        audited(Noisy())
    assert "\n" not in str(refused.value)
    with pytest.raises(ModelError, match="no parameters: nothing to measure"):
        audited(nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(3)))


def test_a_model_whose_gradients_are_all_zero_is_measured_with_warnings() -> None:
    class Rounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = relu_net()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inner(torch.round(x * 4) / 4)
            return logits

    audit = audited(Rounded())
    warned = {check.check for check in audit.preflight if check.verdict == "warning"}
    assert {"input gradients", "gradients are not zero"} <= warned


def test_what_cannot_be_traced_is_still_attacked_and_says_why_there_is_no_bound() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = relu_net()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inner(x)
            return logits if x.detach().sum().item() > -1 else -logits

    audit = audited(Branching())
    assert audit.bounds["linf"].best is None
    assert any(check.check == "global constants" and check.verdict == "warning" for check in audit.preflight)
    assert audit.robustness[0].attacked <= audit.robustness[0].clean
    assert audit.robustness[0].certified == 0.0
    assert [layer.on_input for layer in audit.layers] == [False, False]


def test_the_record_says_what_is_needed_to_repeat_it() -> None:
    told: list[tuple[str, int, int]] = []
    notes = ("came from somewhere odd",)
    audit = audit_one(
        Subject(linear_net(), "the net", notes),
        dataset(),
        OPTIONS,
        command="brittle audit x",
        progress=lambda *event: told.append(event),
    )
    assert (audit.model.name, audit.model.parameters) == ("the net", 3 * 16 + 3)
    assert audit.model.recipe is not None
    assert audit.model.recipe["architecture"] == "mlp"
    assert (audit.data.name, audit.data.split, audit.data.samples) == ("squares", "test", 40)
    assert audit.data.sha256 == dataset().split("test").sha256()
    assert audit.data.classes == ("left", "middle", "right")
    settings = audit.settings
    assert (settings.command, settings.effort, settings.batch_size) == ("brittle audit x", "quick", 16)
    assert (settings.dtype, settings.device, settings.torch) == ("float64", "cpu", torch.__version__)
    assert audit.preflight[0].advice == notes[0]
    assert not audit.partial
    assert any(stage.startswith("forecast: about") and total == 0 for stage, _, total in told)
    assert {"layers", "linf@0.1 pgd-margin-10"} <= {stage for stage, _, _ in told}


def test_an_audit_warns_nobody_in_passing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audited(relu_net())
