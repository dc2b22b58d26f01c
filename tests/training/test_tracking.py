"""What a tracker sees: numbers by other ways, on the same samples each time, and nothing changed by looking."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from brittle.attacks.pgd import PGD
from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.results.training import Tracked
from brittle.threats import LinfBall, ball
from brittle.training.engine import Trained, train
from brittle.training.loop import Budget, fit
from brittle.training.plan import Dynamics, Plan
from brittle.training.tracking import Tracker
from tests.training.toys import digits, mlp, same


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return fit(mlp(12, 1), *digits(), Budget(epochs=4, learning_rate=1e-2), seed=0)


def look(net: nn.Module, tracker: Tracker) -> Tracked:
    return tracker(net, digits()[1], seed=3)


def test_accuracies_are_those_of_the_tracked_part(net: nn.Module) -> None:
    part = digits()[1].take(60, 3)
    seen = look(net, Tracker((LinfBall(0.02), ball("l2", 3.0)), samples=60, attack=PGD(steps=3)))
    with torch.no_grad():
        assert seen.clean == pytest.approx(float((net(part.x).argmax(1) == part.y).double().mean()))
    assert seen.n == 60
    weak, strong = seen.attacked
    assert (weak.norm, weak.epsilon, weak.attack) == ("linf", 0.02, "pgd-margin-3")
    assert seen.clean >= weak.accuracy > strong.accuracy, "an l_2 radius of 3 is more than an l_inf radius of 0.02"
    assert all(row.interval95[0] <= row.accuracy <= row.interval95[1] for row in seen.attacked)


def test_structure_and_the_product_of_norms(net: nn.Module) -> None:
    seen = look(net, Tracker(samples=5, k_fraction=0.25))
    weights = [net.fc1.weight.detach().double(), net.head.weight.detach().double()]
    assert [layer.name for layer in seen.layers] == ["fc1", "head"]
    for layer, w in zip(seen.layers, weights, strict=True):
        sigma, nu = torch.linalg.svdvals(w), w.abs().sum(1).sort(descending=True).values
        k = math.ceil(0.25 * len(nu))
        shares = sigma / sigma.sum()
        assert layer.shape == tuple(w.shape)
        assert layer.frobenius == pytest.approx(float(torch.linalg.matrix_norm(w)), rel=1e-6)
        assert layer.neuron_epsilon == pytest.approx(float(nu[k:].sum() / nu.sum()), rel=1e-6)
        assert layer.spectral_epsilon == pytest.approx(float(sigma[k:].sum() / sigma.sum()), rel=1e-6)
        assert layer.effective_rank == pytest.approx(float((-shares * shares.log()).sum().exp()), rel=1e-6)
        assert layer.stable_rank == pytest.approx(float(sigma.square().sum() / sigma[0] ** 2), rel=1e-6)
        assert layer.norms["linf"].value == pytest.approx(float(nu[0]), rel=1e-6)
        assert layer.norms["l2"].value == pytest.approx(float(sigma[0]), rel=1e-6)
    for norm in ("linf", "l2"):
        product = math.prod(layer.norms[norm].value for layer in seen.layers)
        assert seen.products[norm] == pytest.approx(product, rel=1e-9)
    assert (seen.k_fraction, seen.why) == (0.25, "")


def test_no_product_where_there_is_no_global_constant() -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.inner(x * x)
            return y

    seen = look(Squared(), Tracker(samples=5))
    assert seen.products == {"linf": None, "l2": None}
    assert seen.why
    apart = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Linear(10, 10), nn.Linear(10, 10)).double()
    with torch.no_grad():
        for index in (1, 2, 3):  # each steep, but not where the one before it points
            apart[index].weight.zero_()[index, index] = 1e150
    seen = look(apart, Tracker(samples=5))
    assert seen.products == {"linf": None, "l2": None}
    assert seen.why == "the product of norms is beyond what float64 can hold"


def test_a_watch_may_use_the_global_random_state(net: nn.Module) -> None:
    class Noisy(Tracker):
        def __call__(self, model: nn.Module, validation: Split, *, seed: int) -> Tracked:
            torch.manual_seed(7)
            return super().__call__(model, validation, seed=seed)

    def run(watch: Tracker | None) -> nn.Module:
        model = nn.Sequential(*copy.deepcopy(mlp(4)), nn.Dropout(0.5))
        return train(model, *digits(100), Plan(Dynamics(2, batch_size=50)), seed=0, track=watch).model

    assert same(run(None).state_dict(), run(Noisy(samples=5)).state_dict())


def test_looking_changes_nothing_and_repeats(net: nn.Module) -> None:
    tracker = Tracker((LinfBall(0.05),), every=2, samples=20, attack=PGD(steps=2))
    plan = Plan(Dynamics(5, batch_size=50))

    def run(watch: Tracker | None) -> Trained:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 10))
        return train(model, *digits(100), plan, seed=0, track=watch)

    seen, blind = run(tracker), run(None)
    assert same(seen.model.state_dict(), blind.model.state_dict())
    rows = seen.history.rows
    assert [row.epoch for row in rows if row.tracked is not None] == [2, 4, 5], "every second one, and the last"
    assert seen.history.start is not None
    frobenius = [t.layers[0].frobenius for t in (seen.history.start, *(r.tracked for r in rows if r.tracked))]
    assert all(a != b for a, b in pairwise(frobenius)), "each look is at new weights"
    assert all(row.tracked is None for row in blind.history.rows)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"every": 0}, "a tracker needs every, samples and batch_size >= 1, got 0, 200 and 200"),
        ({"samples": 0}, "a tracker needs every, samples and batch_size >= 1, got 1, 0 and 200"),
        ({"batch_size": 0}, "a tracker needs every, samples and batch_size >= 1, got 1, 200 and 0"),
        ({"k_fraction": 0.0}, r"k must be a fraction in \(0, 1\] of a layer's neurons, got 0.0"),
    ],
)
def test_trackers_out_of_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Tracker(**values)  # type: ignore[arg-type]
