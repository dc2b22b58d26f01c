"""Directions of whole networks: against dense eigenvectors, on trained digits nets, and with bad input."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from brittle.compression.factorise import factorise
from brittle.data.load import load_data
from brittle.directions.network import MAPS, network_directions, sensitive_directions
from brittle.errors import BrittleError, DataError, ModelError, UsageError
from brittle.models.recipe import Recipe, build
from brittle.results.directions import DirectionSet
from brittle.training.loop import Budget, fit
from tests.directions.dense import NETS, eigen, jacobians, joined, moment, overlap, pixels
from tests.operators.nets import Step

PAIR = "residual"


@cache
def digits_net(rank: int) -> nn.Module:
    """A trained 64-100-100-10 net, its hidden layers cut to the rank; 0 leaves them dense."""
    data = load_data("digits")
    net = build(Recipe("mlp", data.input_shape, 10, {"width": 100, "depth": 2}), seed=0)
    net = fit(net, data.split("train"), data.split("validation"), Budget(epochs=5, learning_rate=3e-3), seed=0)
    return net if rank == 0 else factorise(net, {"fc1": rank, "fc2": rank})


def run(model: nn.Module, x: Tensor, k: int, **changed: object) -> tuple[DirectionSet, Tensor]:
    half = len(x) // 2
    return network_directions(model, x[:half], None, x[half:], None, k=k, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("rank", [0, 64, 16, 6])
def test_directions_of_trained_digits_nets_are_the_dense_ones(rank: int) -> None:
    model, x = digits_net(rank), load_data("digits").split("test").x[:60]
    body = nn.Sequential(*list(model)[:-1])
    found, v = run(model, x, 6)
    values, vectors = eigen(moment(body, x[:30]))
    assert abs(float(v[0].flatten().double() @ vectors[0])) >= 0.999
    assert overlap(v[:4], vectors[:4]) >= 0.999
    torch.testing.assert_close(
        torch.tensor([d.energy for d in found.directions]).double(), values[:6], rtol=1e-3, atol=0
    )
    assert found.trace == pytest.approx(float(values.sum()), rel=1e-5)
    assert all(d.residual <= 1e-2 for d in found.directions)


@pytest.mark.parametrize("name", NETS)
def test_directions_and_their_records_agree_with_the_dense_moment(name: str) -> None:
    make, shape = NETS[name]
    model, x = make(), pixels(10, shape)
    found, v = run(model, x, 3, tolerance=1e-4, batch_size=2)
    here, there = moment(model.body, x[:5]), moment(model.body, x[5:])
    values, vectors = eigen(here)
    assert abs(float(v[0].flatten().double() @ vectors[0])) >= 0.999
    rows = v.flatten(1).double()
    torch.testing.assert_close(rows @ rows.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-5)
    assert (found.map, found.fitted, found.scored, len(found.directions)) == ("representation", 5, 5, 3)
    assert found.trace_status == "exact"
    for i, direction in enumerate(found.directions):
        assert direction.energy == pytest.approx(float(values[i]), rel=1e-3)
        assert direction.share == pytest.approx(float(values[i] / here.trace()), rel=1e-3)
        assert direction.scored_share == pytest.approx(float(rows[i] @ there @ rows[i] / there.trace()), rel=1e-3)
        honest = float((rows[i] @ here - values[i] * rows[i]).norm() / values[i])
        assert direction.residual <= 1e-4
        assert honest < 1e-3
        assert (direction.png is None) == (shape[0] == 2 or len(shape) != 3)


def test_the_margin_map_uses_the_labels() -> None:
    make, shape = NETS[PAIR]
    model, x = make(), pixels(12, shape)
    y = torch.arange(12) % 4
    found, v = network_directions(model, x[:6], y[:6], x[6:], y[6:], map="margin", k=2)
    rows = []
    for sample, label in zip(x[:6], y.tolist(), strict=False):
        j = jacobians(copy.deepcopy(model).double(), sample[None].double())[0]
        z = model(sample[None])[0].clone()
        z[label] = -torch.inf
        rows.append(j[label] - j[int(z.argmax())])
    expected = torch.linalg.svd(torch.stack(rows), full_matrices=False)[2][:2]
    assert overlap(v, expected) > 0.999
    assert (found.map, found.trace_status, found.trace_error, found.products) == ("margin", "exact", 0.0, 1)


@pytest.mark.parametrize("name", MAPS)
def test_the_batch_size_only_shows_in_the_rounding(name: str) -> None:
    make, shape = NETS["max pooling, then average"]
    model, x = make(), pixels(14, shape)
    y = torch.arange(14) % 3
    one, v = network_directions(model, x[:7], y[:7], x[7:], y[7:], map=name, k=2, batch_size=1, tolerance=1e-5)
    all_, w = network_directions(model, x[:7], y[:7], x[7:], y[7:], map=name, k=2, batch_size=99, tolerance=1e-5)
    torch.testing.assert_close(v, w, rtol=0, atol=1e-4)
    for a, b in zip(one.directions, all_.directions, strict=True):
        assert (a.energy, a.scored_share) == (
            pytest.approx(b.energy, rel=1e-4),
            pytest.approx(b.scored_share, rel=1e-4),
        )


@pytest.mark.parametrize("name", MAPS)
def test_the_model_comes_back_as_it_was(name: str) -> None:
    make, shape = NETS["batch norm, stride, groups"]
    model = make().train()
    model.body[1].eval()
    model.body[0].weight.requires_grad_(False)
    hook = model.head.register_forward_hook(lambda module, args, out: None)
    flags = [p.requires_grad for p in model.parameters()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    sensitive_directions(model, pixels(4, shape), 2, map=name)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert model.training
    assert not model.body[1].training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert list(model.head._forward_hooks) == [hook.id]
    assert not model.head._forward_pre_hooks


def test_train_mode_and_inference_without_gradients_change_nothing() -> None:
    make, shape = NETS["batch norm, stride, groups"]
    x = pixels(6, shape)
    _, v = run(make(), x, 2, tolerance=1e-5)
    with torch.no_grad():
        _, w = run(make().train(), x, 2, tolerance=1e-5)
    assert torch.equal(v, w)


def test_even_samples_are_fitted_and_odd_ones_scored() -> None:
    make, shape = NETS[PAIR]
    model, x, y = make(), pixels(7, shape), torch.arange(7) % 4
    for name in MAPS:
        found, v = sensitive_directions(model, x, 2, y, map=name)
        same, w = network_directions(model, x[::2], y[::2], x[1::2], y[1::2], map=name, k=2)
        assert found == same
        assert torch.equal(v, w)
    assert (found.fitted, found.scored) == (4, 3)


def test_logits_stand_in_without_a_linear_head_and_long_representations_have_estimated_traces() -> None:
    conv = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 4), nn.Flatten())
    found, _ = run(conv, pixels(4, (1, 6, 6)), 2)
    assert found.map == "logits"
    long = joined(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), (1, 14, 14))
    x = pixels(6, (1, 14, 14))
    estimated, _ = run(long, x, 2)
    truth = float(moment(long.body, x[:3]).trace())
    assert estimated.trace_status == "estimate"
    assert 0 < estimated.trace_error < 0.05
    assert estimated.trace == pytest.approx(truth, rel=5 * estimated.trace_error)


def test_signs_seeds_pictures_and_formats() -> None:
    model = joined(nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Tanh()), (3, 2, 2)).double()
    x = pixels(8, (3, 2, 2)).double()
    found, v = run(model, x, 3)
    assert v.dtype == torch.float64
    largest = v.flatten(1).gather(1, v.flatten(1).abs().argmax(1, keepdim=True))
    assert (largest > 0).all()
    assert all(d.png is not None and d.png.startswith("data:image/png;base64,") for d in found.directions)
    again, w = run(model, x, 3)
    assert again == found
    assert torch.equal(v, w)
    assert not torch.equal(v, run(model, x, 3, seed=1, budget=3)[1])


def test_the_budget_stops_the_search() -> None:
    make, shape = NETS[PAIR]
    told: list[tuple[str, int, int]] = []
    found, _ = run(make(), pixels(4, shape), 3, budget=5, tolerance=1e-9, progress=lambda *w: told.append(w))
    assert found.products == 5
    assert told == [("directions", 4, 5), ("directions", 5, 5)]


def test_a_still_model_has_shares_of_zero() -> None:
    model = joined(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (1, 2, 2))
    nn.init.zeros_(model.body[1].weight)
    found, v = run(model, pixels(4, (1, 2, 2)), 2)
    assert [(d.energy, d.share, d.scored_share, d.residual) for d in found.directions] == [(0.0,) * 4] * 2
    assert overlap(v, v) == pytest.approx(1.0)


def bad(error: type[BrittleError], message: str, **changed: object) -> None:
    model = changed.pop("model", None) or NETS["attention"][0]()
    options = {"x_fit": pixels(2, (5, 6)), "y_fit": None, "x_score": pixels(2, (5, 6)), "y_score": None, "k": 2}
    with pytest.raises(error, match=message) as caught:
        network_directions(model, **(options | changed))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_bad_settings_are_refused() -> None:
    bad(UsageError, "unknown map 'features': expected one of representation, margin", map="features")
    bad(UsageError, "k must be from 1 to 30, the number of pixels, got 0: ask for fewer", k=0)
    bad(UsageError, "k must be from 1 to 30, the number of pixels, got 31", k=31)
    bad(UsageError, "the batch size must be >= 1, got 0", batch_size=0)
    bad(UsageError, r"the tolerance must lie in \(0, 1\), got 0.0: 0.01 is usual", tolerance=0.0)
    bad(UsageError, r"the tolerance must lie in \(0, 1\), got nan", tolerance=float("nan"))
    bad(UsageError, "the budget of products must be >= 1, got 0: 128 is usual", budget=0)


def test_bad_samples_are_refused() -> None:
    x = pixels(2, (5, 6))
    none = r"expected pixels of shape \(n, ...\), n >= 1, to {}, got \(0, 5, 6\): give a batch"
    bad(DataError, none.format("fit"), x_fit=x[:0])
    bad(DataError, none.format("score"), x_score=x[:0])
    bad(DataError, r"expected pixels of shape .* got \(3,\)", x_fit=torch.zeros(3))
    bad(
        UsageError,
        r"expected float32 or float64 pixels, got torch.float16: convert them with x.float\(\)",
        x_fit=x.half(),
    )
    bad(UsageError, "expected float32 or float64 pixels, got torch.int64", x_fit=x.long())
    bad(
        DataError,
        r"expected pixels in \[0, 1\], got \[0, 2\]: put normalisation",
        x_fit=torch.stack([0 * x[0], 0 * x[0] + 2]),
    )
    bad(DataError, r"expected pixels in \[0, 1\], got \[nan, nan\]", x_score=x / 0 * 0)
    bad(DataError, r"need one shape, got \(5, 6\) and \(6, 5\)", x_score=x.transpose(1, 2))
    bad(UsageError, "need one number format, got torch.float32 and torch.float64", x_score=x.double())
    labels = r"expected 2 int64 labels, one per sample to {}, got {}"
    bad(DataError, labels.format("fit", r"torch.int64 of shape \(3,\)"), y_fit=torch.arange(3))
    bad(DataError, labels.format("score", r"torch.float32 of shape \(2,\)"), y_score=torch.ones(2))
    bad(DataError, "labels from 0 to 3 for a model of 4 classes", y_fit=torch.tensor([0, 4]), map="margin")
    with pytest.raises(DataError, match="expected at least 2 samples, one to fit and one to score, got 1: give more"):
        sensitive_directions(NETS["attention"][0](), x[:1], 2)
    with pytest.raises(DataError, match="expected 2 int64 labels, one per sample to fit and score, got"):
        sensitive_directions(NETS["attention"][0](), x, 2, torch.ones(3))


@pytest.mark.parametrize("name", MAPS)
def test_bad_models_are_refused(name: str) -> None:
    make = NETS["attention"][0]
    for kind in (torch.float16, torch.bfloat16):
        message = rf"expected a float32 or float64 model, body.0.weight is {kind}: convert it with model.float\(\)"
        bad(ModelError, message, model=make().to(kind), map=name)
    bad(
        UsageError,
        r"in the model's number format torch.float64, got torch.float32: convert them with x.to\(torch.float64\)",
        model=make().double(),
        map=name,
    )
    bad(ModelError, r"the model does not take inputs of shape \(2, 5, 6\)", model=nn.Conv2d(3, 3, 3), map=name)
    broken = make()
    nn.init.constant_(broken.body[0].weight, torch.nan)
    bad(ModelError, "expected finite outputs, got NaN or infinity: check the weights", model=broken, map=name)
    closed = nn.Sequential(Step(lambda z: z.detach()), make())
    bad(ModelError, "outputs without a graph", model=closed, map=name)
