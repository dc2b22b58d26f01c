"""Fitting a state dict into a model."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.models.fit import check_finite, fit_weights
from brittle.models.pixels import Pixels


def _model() -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), bn=nn.BatchNorm2d(2), head=nn.Linear(2, 3)))


def _state(model: nn.Module, fill: float = 2.0) -> dict[str, Tensor]:
    return {k: torch.full_like(v, fill) for k, v in model.state_dict().items()}


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"layers.{i}": v for i, v in enumerate(v for k, v in state.items() if "num_batches" not in k)}


def test_exact_names() -> None:
    model = _model()
    reversed_order = dict(reversed(_state(model).items()))
    assert fit_weights(model, reversed_order) == []
    assert all((v == 2).all() for k, v in model.state_dict().items() if "num_batches" not in k)


def test_counters_are_left_out_on_either_side() -> None:
    model = _model()
    state = _state(model)
    del state["bn.num_batches_tracked"]
    assert fit_weights(model, state) == []
    plain = nn.Linear(2, 3)
    assert fit_weights(plain, {**_state(plain), "bn.num_batches_tracked": torch.tensor(4)}) == []


def test_position() -> None:
    model = nn.Sequential(OrderedDict(a=nn.Linear(2, 2), b=nn.Linear(2, 2)))
    wanted = [torch.rand_like(p) for p in model.state_dict().values()]
    notes = fit_weights(model, {f"layers.{i}": t for i, t in enumerate(wanted)})
    assert notes == ["weights loaded by position, layers.0 into a.weight and so on: names differ, shapes agree"]
    assert all(torch.equal(p, t) for p, t in zip(model.state_dict().values(), wanted, strict=True))


def test_position_is_no_guide_when_common_names_would_move() -> None:
    model = nn.Sequential(OrderedDict(a=nn.Linear(2, 2, bias=False), b=nn.Linear(2, 2, bias=False)))
    state = {"b.weight": torch.ones(2, 2), "c.weight": torch.ones(2, 2)}
    with pytest.raises(ModelError, match=r"weight 'a.weight'.* is missing"):
        fit_weights(model, state)
    three = nn.Sequential(OrderedDict((n, nn.Linear(2, 2, bias=False)) for n in "abc"))
    state = {f"{n}.weight": torch.ones(2, 2) for n in "xay"}
    with pytest.raises(ModelError, match="the names agree only in part and in another order"):
        fit_weights(three, state)


def test_pixels_around_the_net() -> None:
    inner = nn.Linear(2, 3)
    model = Pixels([0.25], [0.5], inner)
    assert fit_weights(model, _state(nn.Linear(2, 3))) == []
    assert (inner.weight == 2).all()
    whole = {**_state(model), "mean": torch.tensor(0.25), "std": torch.tensor(0.5)}
    assert fit_weights(model, whole) == []
    with pytest.raises(ModelError, match=r"saved with mean=0.75, the model has another: give mean=0.75"):
        fit_weights(model, {**whole, "mean": torch.tensor(0.75)})


def test_dtype_is_the_models_and_a_note_says_so() -> None:
    model = nn.Linear(2, 3)
    assert fit_weights(model, _state(nn.Linear(2, 3).double())) == ["weights converted from float64 to float32"]
    assert model.weight.dtype == torch.float32


def _dropped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k != "bn.bias"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_dropped, r"weight 'bn.bias' of shape \(2,\) is missing from the file"),
        (lambda s: {**s, "extra.weight": torch.zeros(4)}, r"weight 'extra.weight' of shape \(4,\) is unexpected"),
        (
            lambda s: {**s, "head.weight": torch.zeros(3, 5)},
            r"weight 'head.weight' has shape \(3, 5\) in the file, the model expects \(3, 2\)",
        ),
        (
            lambda s: _renamed({**s, "head.weight": torch.zeros(3, 5)}),
            r"the file's 'layers.6' of shape \(3, 5\) does not fit 'head.weight' of shape \(3, 2\)",
        ),
        (lambda s: dict(list(_renamed(s).items())[:2]), r"the file ends before weight 'bn.weight' of shape \(2,\)"),
        (
            lambda s: {**s, "bn.weight": torch.zeros(2, dtype=torch.int8)},
            "weight 'bn.weight' is int8, expected floating",
        ),
        (
            lambda s: {**s, "bn.weight": torch.tensor([1.0, float("nan")])},
            "weight 'bn.weight' holds NaN or infinity in 1 of 2 entries",
        ),
    ],
)
def test_first_mismatch_is_named_and_the_model_unchanged(make: object, message: str) -> None:
    model = _model()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ModelError, match=message) as caught:
        fit_weights(model, make(_state(model)))  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_more_weights_than_the_model() -> None:
    model = nn.Linear(2, 3)
    state = {"x": torch.zeros(3, 2), "y": torch.zeros(3), "z": torch.zeros(9)}
    with pytest.raises(ModelError, match=r"holds more than the model, first 'z' of shape \(9,\)"):
        fit_weights(model, state)


def test_check_finite() -> None:
    check_finite("w", torch.ones(3))
    check_finite("n", torch.ones(3, dtype=torch.int64))
    with pytest.raises(ModelError, match="weight 'w' holds NaN or infinity in 2 of 3 entries"):
        check_finite("w", torch.tensor([1.0, float("inf"), float("nan")]))
