"""The forecast counts gradients and multiplies by what one takes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from torch import Tensor, nn

from brittle.auditing import forecast
from brittle.auditing.depth import DEPTHS
from brittle.auditing.forecast import forecast_seconds
from brittle.threats import ball
from tests.auditing.made import linear_net, samples


@dataclass(frozen=True)
class Costly:
    cost: int
    name: str = "costly"

    def __call__(self, *arguments: object, **settings: object) -> Tensor:
        raise AssertionError("a forecast runs no attack")


def test_the_forecast_is_linear_in_samples_threats_and_the_first_attacks_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(forecast, "perf_counter", lambda: float(next(ticks)))  # so the timed gradient takes 1 s
    x, y = samples(30)
    seen: list[int] = []
    net = linear_net()
    net.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    threat = ball("linf", 0.1)
    seconds = forecast_seconds(net, x, y, [threat], [Costly(10)], batch_size=10)
    assert seconds == pytest.approx(1.0 / 10 * (10 + forecast.GAP_STEPS) * 30)  # all 30 samples serve the gap too
    assert forecast_seconds(net, x, y, [threat] * 3, [Costly(10)], batch_size=10) == pytest.approx(3 * seconds)
    twice = forecast_seconds(net, x, y, [threat], [Costly(20)], batch_size=10)
    assert twice - seconds == pytest.approx(1.0 / 10 * 10 * 30)
    more = forecast_seconds(net, x, y, [threat], [Costly(10), Costly(10)], batch_size=10)
    assert seconds < more < 2 * seconds  # a later attack meets fewer samples
    assert max(seen) == 10
    # later stages run once for each norm
    later = forecast_seconds(net, x, y, [threat] * 3, [Costly(10)], batch_size=10, more=500.0)
    assert later == pytest.approx(3 * seconds + 1.0 / 10 * 500)


def test_later_stages_cost_less_without_directions_and_more_when_thorough() -> None:
    none, some = (DEPTHS["standard"].gradients(k) for k in (0, 8))
    assert 0 < none < some < DEPTHS["thorough"].gradients(8)


def test_a_model_without_gradients_has_no_forecast() -> None:
    class Votes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear_net()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).detach()

    x, y = samples(4)
    assert forecast_seconds(Votes(), x, y, [ball("linf", 0.1)], [Costly(10)], batch_size=4) == 0.0
