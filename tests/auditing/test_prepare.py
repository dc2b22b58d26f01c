"""The copy that is measured, and the models that no audit could measure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from brittle.auditing.prepare import check_model, check_runs, choose_dtype, twin
from brittle.errors import DataError, ModelError
from brittle.models.recipe import Recipe, build
from brittle.operators.network import read_network

X = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 1])


def net(width: int = 6) -> nn.Module:
    return build(Recipe("mlp", (1, 4, 4), 3, {"width": width, "depth": 1}), seed=0)


class Wrapped(nn.Module):
    """A net whose output goes through `after`; the parameters are real."""

    def __init__(self, after: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.inner, self.after = net(), after

    def forward(self, x: Tensor) -> object:
        return self.after(self.inner(x))


class OnlyFloat32(nn.Module):
    """Insists on its number format, as models with hand-written kernels do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError("expected float32")
        logits: Tensor = self.inner(x)
        return logits


def test_the_copy_is_frozen_and_the_original_is_not_touched() -> None:
    model = net().train()
    made = twin(model, X, Y, torch.float64, "cpu")
    assert {p.dtype for p in made.model.parameters()} == {torch.float64}
    assert not any(p.requires_grad for p in made.model.parameters())
    assert not made.model.training
    assert made.checks == ()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert model.training


def test_a_model_that_only_runs_in_float32_is_taken_so_with_a_warning() -> None:
    made = twin(OnlyFloat32(), X, Y, torch.float64, "cpu")
    assert made.dtype == torch.float32
    assert [(check.check, check.verdict) for check in made.checks] == [("number format", "warning")]
    assert "float32 only" in made.checks[0].advice


def test_half_precision_weights_are_measured_in_a_longer_format_with_a_warning() -> None:
    made = twin(net().half(), X, Y, torch.float32, "cpu")
    assert {p.dtype for p in made.model.parameters()} == {torch.float32}
    assert "the weights are float16, measured in float32" in made.checks[0].advice


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (lambda y: (y, y), "expected a tensor of logits from the model, got tuple: wrap it"),
        (lambda y: y.sum(), r"expected logits of shape \(1, classes\)"),
        (lambda y: y[:, :1], "at least 2 classes"),
        (lambda y: y * torch.nan, "expected finite logits, got NaN or infinity"),
        (lambda y: torch.from_numpy(y.detach().numpy()), r"no gradient in the pixels .*: attacks need one"),
        (lambda y: torch.from_numpy(y.numpy()), r"no gradient in the pixels \(RuntimeError: .*\): attacks need one"),
        (lambda y: y.argmax(1, keepdim=True) == torch.arange(3), "no gradient in the pixels"),
    ],
    ids=["tuple", "scalar", "one class", "nan", "detached", "numpy", "votes"],
)
def test_models_that_give_no_logits_or_no_gradients_are_refused_in_one_line(
    after: Callable[[Tensor], object], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        check_model(Wrapped(after), X, Y, "cpu")
    assert "\n" not in str(refused.value)


def test_inputs_and_labels_that_do_not_belong_to_the_model_are_refused() -> None:
    wrong = torch.rand(2, 3, 8, 8)
    with pytest.raises(ModelError, match=r"does not accept inputs of shape \(3, 8, 8\) .*: check that model and data"):
        check_model(net(), wrong, Y[:2], "cpu")
    with pytest.raises(DataError, match="expected labels from 0 to 2 for a model of 3 classes, got 7 to 7"):
        check_model(net(), X, torch.tensor([7, 0, 0, 0, 0]), "cpu")
    with pytest.raises(ModelError, match=r"does not accept inputs of shape \(2,\)"):
        check_runs(net(), (2,))
    check_runs(net(), (1, 4, 4))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_weights_and_buffers_that_are_not_finite_are_refused(bad: float) -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        model[0].running_mean.fill_(bad)  # type: ignore[union-attr, operator]
    with pytest.raises(ModelError, match=r"weight '0\.running_mean' holds NaN or infinity in 1 of 1 entries"):
        check_model(model, X, Y, "cpu")


def test_the_number_format_goes_by_the_work_of_one_input_unless_asked() -> None:
    small = read_network(net(), (1, 4, 4))
    assert choose_dtype(small, None) == torch.float64
    assert choose_dtype(small, torch.float32) == torch.float32
    large = read_network(build(Recipe("mlp", (1, 4, 4), 3, {"widths": [2400, 2400]})), (1, 4, 4))
    assert choose_dtype(large, None) == torch.float32
    assert choose_dtype(read_network(net(), None), None) == torch.float32  # not traced: nobody knows the work
