"""One perturbation for all inputs, against linear classifiers whose best perturbation is known."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from tests.small_nets import trained
from torch import nn

from brittle.attacks.losses import margin
from brittle.attacks.universal import SteepestAscent, fit_universal
from brittle.attacks.universal_goal import Leave, Reach
from brittle.attacks.universal_gradient import shared_gradient
from brittle.attacks.universal_start import RandomStart, ZeroStart
from brittle.data.load import load_data
from brittle.errors import DataError, ModelError, UsageError
from brittle.models.frozen import frozen
from brittle.threats import ball

N, DIM = 200, 12
SHORT = SteepestAscent(steps=60, starts=(ZeroStart(), RandomStart()))


def linear(classes, dtype=torch.float64, scale=1.0):
    """A linear classifier and points of [0.3, 0.7]^12: no perturbation of length 0.1 meets the box."""
    generator = torch.Generator().manual_seed(classes)
    model = nn.Linear(DIM, classes).to(dtype)
    weight = torch.randn(classes, DIM, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(scale * weight)
        model.bias.copy_(-scale * weight @ torch.full((DIM,), 0.5, dtype=torch.float64))
    x = 0.3 + 0.4 * torch.rand(2 * N, DIM, generator=generator, dtype=torch.float64)
    return model, x.to(dtype)


@dataclass(frozen=True)
class From:
    """Start at a fixed value in every pixel."""

    value: float
    name: str = "fixed"

    def __call__(self, model, x, labels, goal, ball, *, number, seed, batch_size):
        return torch.full_like(x[0], self.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.05), ("l2", 0.15)])
def test_samples_of_one_class_are_fooled_where_the_closed_form_says(norm, epsilon, dtype):
    model, x = linear(2, dtype)
    x = x[model(x).argmax(1) == 0]
    row = (model.weight[1] - model.weight[0]).detach().double()
    gap = epsilon * torch.linalg.vector_norm(row, ord=1 if norm == "linf" else 2) + (
        model.double()(x.double()) @ torch.tensor([-1.0, 1.0], dtype=torch.float64)
    )
    model.to(dtype)
    delta = fit_universal(
        model, x, torch.zeros(len(x), dtype=torch.int64), ball(norm, epsilon), method=SHORT, seed=0, batch_size=64
    )
    assert 0.2 < float((gap > 0).double().mean()) < 0.9
    clear = gap.abs() > 0.02
    fooled = model(x + delta).argmax(1) != 0
    assert clear.sum() > 0.9 * len(x)
    assert torch.equal(fooled[clear], (gap > 0)[clear])


@pytest.mark.parametrize("epsilon", [1e-4, 0.1, 0.7])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_perturbed_pixels_stay_inside_after_rounding(norm, epsilon):
    model, x = linear(3, torch.float32)
    x[:, :3] = torch.tensor([0.0, 1.0, 0.999])
    y = torch.zeros(len(x), dtype=torch.int64)  # one class to leave, so that even a tiny step is worth making
    delta = fit_universal(model, x, y, ball(norm, epsilon), method=SHORT, seed=0, batch_size=600)
    moved = (x + delta).double() - x.double()
    order = {"linf": torch.inf, "l2": 2, "l1": 1}[norm]
    assert float(torch.linalg.vector_norm(moved, ord=order, dim=1).max()) <= epsilon
    assert float(torch.linalg.vector_norm(moved, ord=order, dim=1).max()) > 0.9 * epsilon


def test_samples_reach_the_target_and_its_own_are_left_out():
    model, x = linear(3)
    y = model(x).argmax(1)
    reach = {}
    for target in range(3):
        delta = fit_universal(model, x, y, ball("linf", 0.05), method=SHORT, seed=0, batch_size=600, target=target)
        reach[target] = float((model(x + delta).argmax(1) == target).double().mean())
        assert reach[target] > float((y == target).double().mean()) + 0.25
    with pytest.raises(DataError, match=r"of other classes than the target 1 .* got 0"):
        fit_universal(model, x[y == 1], y[y == 1], ball("linf", 0.05), method=SHORT, seed=0, batch_size=9, target=1)


def test_gradient_at_a_wall_counts_only_where_it_points_inside():
    model = nn.Linear(4, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 4, [1.0, -1.0, 2.0, -2.0]]))
    x = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]]).double()
    delta = torch.tensor([-0.1, -0.1, 0.1, 0.1]).double()
    y = torch.zeros(2, dtype=torch.int64)
    with frozen(model):
        # The first sample is beyond a wall everywhere: pixels 0 and 3 would profit from coming back, 1 and 2 would not.
        found = shared_gradient(model, x, y, delta, margin, 1)
    assert found.tolist() == [2.0, -1.0, 2.0, -4.0]


def test_pixels_that_left_the_box_come_back():
    model = nn.Linear(3, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 3, [1.0, 1.0, 1.0]]))
        model.bias.copy_(torch.tensor([0.1, 0.0]))
    x, y = torch.zeros(20, 3).double(), torch.zeros(20, dtype=torch.int64)
    method = SteepestAscent(steps=40, starts=(From(-0.05),))
    delta = fit_universal(model, x, y, ball("linf", 0.05), method=method, seed=0, batch_size=20)
    assert bool((model((x + delta).clamp(0, 1)).argmax(1) == 1).all())


def test_the_scale_of_the_logits_does_not_matter():
    answers = []
    for scale in (1.0, 2.0**20, 2.0**-20):
        model, x = linear(4, scale=scale)
        y, method = model(x).argmax(1), SteepestAscent(steps=15, starts=(RandomStart(),))
        answers.append(fit_universal(model, x, y, ball("l2", 0.1), method=method, seed=0, batch_size=200))
    torch.testing.assert_close(answers[1], answers[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(answers[2], answers[0], rtol=0, atol=1e-12)


def test_seed_decides_and_batch_size_does_not():
    model, x = linear(4)
    y, method = model(x).argmax(1), SteepestAscent(steps=5, starts=(RandomStart(),))

    def fit(seed, batch_size):
        return fit_universal(model, x, y, ball("l2", 0.1), method=method, seed=seed, batch_size=batch_size)

    assert torch.equal(fit(0, 600), fit(0, 600))
    torch.testing.assert_close(fit(0, 7), fit(0, 600), rtol=0, atol=1e-12)
    assert not torch.equal(fit(1, 600), fit(0, 600))


def test_the_best_of_several_starts_is_the_answer():
    model, x = linear(2)
    x = x[model(x).argmax(1) == 0]
    y = torch.zeros(len(x), dtype=torch.int64)
    direction = (model.weight[1] - model.weight[0]).detach().sign()

    @dataclass(frozen=True)
    class Best:
        name: str = "best"

        def __call__(self, model, x, labels, goal, ball, *, number, seed, batch_size):
            return ball.epsilon * direction

    for starts in ((Best(), ZeroStart(), From(0.03)), (From(0.03), ZeroStart(), Best())):
        method = SteepestAscent(steps=0, starts=starts)
        delta = fit_universal(model, x, y, ball("linf", 0.05), method=method, seed=0, batch_size=600)
        torch.testing.assert_close(delta, 0.05 * direction, rtol=1e-6, atol=0)


def test_random_starts_are_of_full_length_and_differ():
    _, x = linear(2)
    for norm in ("linf", "l2"):
        starts = [
            RandomStart()(None, x, None, Leave(), ball(norm, 0.1), number=number, seed=0, batch_size=1)
            for number in (0, 0, 1)
        ]
        assert torch.equal(starts[0], starts[1])
        assert not torch.equal(starts[0], starts[2])
        length = torch.linalg.vector_norm(starts[0], ord=torch.inf if norm == "linf" else 2)
        assert float(length) == pytest.approx(0.1)


def test_goals_are_sigmoid_steps_at_the_boundary():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]]).double()
    y = torch.tensor([0, 0])
    assert Leave().reached(logits, y).tolist() == [False, True]
    torch.testing.assert_close(Leave().loss(logits, y, 0.5), torch.tensor([-1.0, 3.0]).double().div(0.5).sigmoid())
    goal = Reach(1)
    assert goal.labels(y).tolist() == [1, 1]
    assert goal.reached(logits, goal.labels(y)).tolist() == [False, True]
    expected = torch.tensor([-1.0, 2.0]).double().div(0.5).sigmoid()
    torch.testing.assert_close(goal.loss(logits, goal.labels(y), 0.5), expected)


def test_time_is_up_and_progress():
    model, x = linear(3)
    y = model(x).argmax(1)
    told = []

    def fit(**kw):
        return fit_universal(model, x, y, ball("linf", 0.1), method=SHORT, seed=0, batch_size=600, **kw)

    assert torch.equal(fit(deadline=0.0), torch.zeros(DIM).double())  # the first start, judged but not moved
    fit(progress=lambda *a: told.append(a))
    assert told[0] == ("universal perturbation", 1, 120)
    assert told[-1] == ("universal perturbation", 120, 120)
    assert len(told) == 120


def test_the_model_comes_back_as_it_was():
    model, x = linear(2, torch.float32)
    model.train()
    fit_universal(
        model, x, torch.zeros(len(x), dtype=torch.int64), ball("l2", 0.1), method=SHORT, seed=0, batch_size=99
    )
    assert model.training
    assert model.weight.requires_grad
    assert model.weight.grad is None


def test_digits_fall_to_it_more_than_to_plain_sign_steps():
    model, data = trained(), load_data("digits")
    fit, score = data.split("train"), data.split("test")
    threat = ball("linf", 0.15)
    with torch.no_grad():
        leave, before = model(fit.x).argmax(1), model(score.x).argmax(1)
    plain = torch.zeros_like(fit.x[0])
    for _ in range(100):
        moving = plain.clone().requires_grad_()
        F.cross_entropy(model((fit.x + moving).clamp(0, 1)), leave).backward()
        plain = (plain + 0.015 * moving.grad.sign()).clamp(-0.15, 0.15)
    method = SteepestAscent(steps=100, starts=(ZeroStart(), RandomStart()))
    delta = fit_universal(model, fit.x, leave, threat, method=method, seed=0, batch_size=1100)

    def share(d):
        with torch.no_grad():
            return float((model((score.x + d).clamp(0, 1)).argmax(1) != before).double().mean())

    assert share(delta) >= share(plain) + 0.01


@pytest.mark.parametrize(
    "settings",
    [{"steps": -1}, {"minibatch": 0}, {"starts": ()}, {"step_size": 0.0}, {"width": 0.0}, {"momentum": 1.0}],
)
def test_settings_out_of_range(settings):
    with pytest.raises(UsageError, match=r"a universal perturbation needs .* got "):
        SteepestAscent(**settings)


def test_the_name_counts_steps_and_starts():
    assert SHORT.name == "universal-60x2"
    assert ZeroStart().name == "zero"
    assert RandomStart().name == "random"


class Broken(nn.Module):
    """Logits made to order."""

    def __init__(self, change):
        super().__init__()
        self.change, self.inner = change, linear(3)[0]

    def forward(self, x):
        return self.change(self.inner(x))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda z: z * float("nan"), ModelError, "finite logits .* with NaN or infinity"),
        (lambda z: z[:, :1], ModelError, "at least 2 classes, got 1 classes"),
        (lambda z: z.detach(), ModelError, "without a graph"),
        (lambda z: z[:, :2], DataError, "labels from 0 to 1, got 0 to 2"),
    ],
)
def test_models_that_cannot_be_used(change, error, message):
    _, x = linear(3)
    y = torch.arange(len(x)) % 3
    with pytest.raises(error, match=message):
        fit_universal(Broken(change), x, y, ball("linf", 0.1), method=SHORT, seed=0, batch_size=100)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"batch_size": 0}, UsageError, "batch size must be >= 1, got 0"),
        ({"seed": -1}, UsageError, "seed must be a whole number of at least 0, got -1"),
        ({"target": 3}, DataError, "target class from 0 to 2, got 3"),
    ],
)
def test_arguments_out_of_range(changed, error, message):
    model, x = linear(3)
    settings = {"method": SHORT, "seed": 0, "batch_size": 10, **changed}
    with pytest.raises(error, match=message):
        fit_universal(model, x, model(x).argmax(1), ball("linf", 0.1), **settings)


def test_samples_that_cannot_be_used():
    model, x = linear(3)
    y = model(x).argmax(1)
    for pixels, error, message in (
        (x[:1], DataError, "at least 2 samples to fit a universal perturbation on, got 1"),
        (x + 1, DataError, r"pixels in \[0, 1\]"),
        (x.half(), UsageError, "float32 or float64"),
    ):
        with pytest.raises(error, match=message):
            fit_universal(model, pixels, y[: len(pixels)], ball("linf", 0.1), method=SHORT, seed=0, batch_size=10)
    with pytest.raises(UsageError, match="too small for float32"):
        fit_universal(model.float(), x.float(), y, ball("linf", 1e-8), method=SHORT, seed=0, batch_size=10)
