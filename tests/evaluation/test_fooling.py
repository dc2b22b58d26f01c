"""Scores of one perturbation for all inputs, against counts by hand and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.attacks.universal import SteepestAscent
from brittle.attacks.universal_start import RandomStart, ZeroStart
from brittle.data.split import Split
from brittle.errors import DataError, ModelError, UsageError
from brittle.evaluation import fooling as module
from brittle.evaluation.fooling import fooling, perturbed_predictions, predictions, universal_perturbation
from brittle.threats import ball

DIM = 6
METHOD = SteepestAscent(steps=40, starts=(ZeroStart(), RandomStart()))


def line(weights=(1.0,) * DIM):
    """Class 1 where the weighted pixels exceed half their sum's."""
    model = nn.Linear(DIM, 2).double()
    row = torch.tensor(weights).double()
    with torch.no_grad():
        model.weight.copy_(torch.stack([-row, row]))
        model.bias.copy_(torch.tensor([1.0, -1.0]).double() * row.sum() / 2)
    return model


def samples(n=200, seed=0):
    x = torch.rand(n, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x, torch.arange(n) % 2


def score(model, x, y, delta, threat, **changed):
    settings = {"held_out": True, "fitted": 7, "batch_size": 64, "seed": 0, **changed}
    return fooling(model, x, y, delta, threat, **settings)


def test_rates_are_counts_of_changed_predictions_and_right_labels():
    x, y = samples()
    delta = torch.full((DIM,), 0.09).double()
    # By hand: the sum of the clamped pixels against 3.
    before, after = x.sum(1) > 3, (x + 0.09).clamp(max=1).sum(1) > 3
    found = score(line(), x, y, delta, ball("linf", 0.1), method="m", target="1", held_out=False)
    assert found.fooling_rate == float((before != after).double().mean())
    assert found.clean == float((before.long() == y).double().mean())
    assert found.accuracy == float((after.long() == y).double().mean())
    assert (found.n, found.fitted, found.held_out, found.method, found.target) == (200, 7, False, "m", "1")
    assert (found.norm, found.epsilon) == ("linf", 0.1)
    share, n, z = found.fooling_rate, 200, 1.959963984540054
    half = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    centre = share + z**2 / (2 * n)
    assert found.interval95 == pytest.approx([(centre + s * half) / (1 + z**2 / n) for s in (-1, 1)])


@pytest.mark.parametrize(("norm", "length"), [("linf", 0.08), ("l2", 0.2)])
def test_the_control_is_random_and_as_long_as_the_perturbation(norm, length):
    x, y = samples()
    delta = torch.zeros(DIM).double()
    delta[0] = length
    found = score(line(), x, y, delta, ball(norm, 10 * length), draws=300)
    generator = torch.Generator().manual_seed(5)
    rates = []
    for _ in range(300):
        noise = torch.randn(DIM, generator=generator, dtype=torch.float64)
        noise = length * (noise.sign() if norm == "linf" else noise / noise.norm())
        rates.append(float((((x + noise).clamp(0, 1).sum(1) > 3) != (x.sum(1) > 3)).double().mean()))
    rates = torch.tensor(rates)
    error = float(rates.std()) * (2 / 300) ** 0.5
    assert found.control == pytest.approx(float(rates.mean()), abs=4 * error)
    assert found.control > 5 * error


def test_nothing_fools_nobody():
    x, y = samples()
    found = score(line(), x, y, torch.zeros(DIM).double(), ball("l2", 0.1))
    assert (found.fooling_rate, found.control) == (0.0, 0.0)
    assert found.accuracy == found.clean


def test_the_batch_size_does_not_matter_and_the_seed_does():
    x, y = samples()
    delta = torch.full((DIM,), 0.05).double()
    first = score(line(), x, y, delta, ball("linf", 0.1))
    assert score(line(), x, y, delta, ball("linf", 0.1), batch_size=7) == first
    assert score(line(), x, y, delta, ball("linf", 0.1), seed=1).control != first.control


def test_predictions_before_and_after():
    x, y = samples()
    assert torch.equal(predictions(line(), x, y, 50), (x.sum(1) > 3).long())
    delta = torch.full((DIM,), -0.1).double()
    assert torch.equal(perturbed_predictions(line(), x, delta, 50), ((x - 0.1).clamp(min=0).sum(1) > 3).long())


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"delta": torch.full((DIM,), 0.125).double()},
            UsageError,
            "inside the linf ball of radius 0.1, got length 0.125",
        ),
        ({"delta": torch.zeros(DIM + 1).double()}, DataError, r"one perturbation of shape \(6,\), got \(7,\)"),
        ({"delta": torch.full((DIM,), float("nan")).double()}, DataError, "a finite perturbation, got NaN"),
        ({"draws": 9}, UsageError, "draws >= 10, got 9"),
        ({"fitted": -1}, UsageError, "fitting samples must be >= 0, got -1"),
        ({"batch_size": 0}, UsageError, "batch size must be >= 1, got 0"),
        ({"model": nn.Linear(DIM, 1).double()}, ModelError, "at least 2 classes"),
    ],
)
def test_what_cannot_be_scored(changed, error, message):
    x, y = samples()
    arguments = {"model": line(), "delta": torch.zeros(DIM).double(), **changed}
    model, delta = arguments.pop("model"), arguments.pop("delta")
    with pytest.raises(error, match=message):
        score(model, x, y, delta, ball("linf", 0.1), **arguments)


def test_the_front_door_fits_and_scores_on_different_samples(monkeypatch):
    seen = {}
    fit, judge = module.fit_universal, module.fooling

    def watch_fit(model, x, y, *args, **kw):
        seen["fit"], seen["leave"] = x, y
        return fit(model, x, y, *args, **kw)

    def watch_score(model, x, *args, **kw):
        seen["score"] = x
        return judge(model, x, *args, **kw)

    monkeypatch.setattr(module, "fit_universal", watch_fit)
    monkeypatch.setattr(module, "fooling", watch_score)
    x, y = samples(60)
    model = line()
    delta, found = universal_perturbation(model, (x, y), ball("linf", 0.1), method=METHOD, share=0.7)
    assert (len(seen["fit"]), len(seen["score"])) == (42, 18)
    assert {tuple(row) for row in torch.cat([seen["fit"], seen["score"]]).tolist()} == {
        tuple(row) for row in x.tolist()
    }
    assert torch.equal(seen["leave"], (seen["fit"].sum(1) > 3).long())  # what the model says, not the labels
    assert (found.held_out, found.fitted, found.n, found.method) == (True, 42, 18, "universal-40x2")
    after = (seen["score"] + delta).clamp(0, 1).sum(1) > 3
    assert found.fooling_rate == float((after != (seen["score"].sum(1) > 3)).double().mean())
    assert found.target is None


def test_the_front_door_takes_a_split_a_target_and_a_seed():
    x, y = samples(200)
    data, model = Split(x.float(), y), line().float()
    threat = ball("linf", 0.05)
    delta, found = universal_perturbation(model, data, threat, method=METHOD, target=0)
    assert found.target == "0"
    assert float(delta.sum()) == pytest.approx(-0.05 * DIM, rel=1e-3)
    assert universal_perturbation(model, data, threat, method=METHOD, seed=1)[1].n == 100
    one, other = (universal_perturbation(model, data, threat, method=METHOD, seed=s)[1].clean for s in (1, 2))
    assert one != other


@pytest.mark.parametrize(
    ("n", "changed", "error", "message"),
    [
        (20, {"share": 1.0}, UsageError, r"must lie in \(0, 1\), got 1.0"),
        (20, {"seed": -1}, UsageError, "seed must be a whole number of at least 0, got -1"),
        (2, {}, DataError, "at least 2 samples to fit on and 1 to score on, got 1 and 1"),
    ],
)
def test_what_the_front_door_refuses(n, changed, error, message):
    with pytest.raises(error, match=message):
        universal_perturbation(line(), samples(n), ball("linf", 0.1), **changed)
