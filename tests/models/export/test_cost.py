"""Multiply-adds against closed forms, and timing that leaves everything as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.errors import ModelError, UsageError
from brittle.models.attention import SelfAttention
from brittle.models.export.cost import made_batch, multiply_adds
from brittle.models.export.latency import latency_ms
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear

# Layer, input shape, multiply-adds by counting on paper
COUNTED: dict[str, tuple[nn.Module, tuple[int, ...], int]] = {
    "dense": (nn.Linear(6, 4), (6,), 24),
    "low-rank": (LowRankLinear(6, 4, 2), (6,), 2 * 6 + 4 * 2),
    "convolution": (nn.Conv2d(3, 5, 3, stride=2, padding=1), (3, 8, 8), 16 * 5 * 3 * 9),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), (4, 6, 6), 16 * 4 * 9),
    "k x k first": (LowRankConv2d(3, 5, 3, 2, padding=1), (3, 4, 4), 16 * (2 * 27 + 5 * 2)),
    "1 x 1 first": (LowRankConv2dIn(3, 5, 3, 2, padding=1), (3, 4, 4), 16 * (2 * 3 + 5 * 18)),
    # 7 tokens of width 6: four layers to or from width 4, and two products with the weights of 2 heads
    "attention": (nn.Sequential(SelfAttention(6, 4, 2)), (7, 6), 7 * 4 * 6 * 4 + 2 * 7 * 7 * 4),
    "norm and activation": (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), (3, 4, 4), 0),
}


@pytest.mark.parametrize("name", list(COUNTED))
def test_counted(name: str) -> None:
    layer, shape, expected = COUNTED[name]
    if name == "attention":

        class First(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = layer[0]

            def forward(self, x: Tensor) -> Tensor:
                return self.inner(x)[0]

        layer = First()
    assert multiply_adds(layer, shape) == expected


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    multiply_adds(model, (1, 5, 5))
    latency_ms(model, (1, 5, 5), batch=2, repeats=2)
    assert model.training
    assert model[1].training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_latency_is_in_order_and_threads_come_back() -> None:
    seen = []

    class Watching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((torch.get_num_threads(), tuple(x.shape), torch.is_grad_enabled()))
            return x

    threads = torch.get_num_threads()
    timed = latency_ms(Watching(), (3,), batch=4, repeats=5, threads=2)
    assert torch.get_num_threads() == threads
    assert 0 < timed.low <= timed.median <= timed.high
    assert (timed.batch, timed.repeats, timed.threads) == (4, 5, 2)
    assert len(seen) > 5
    assert set(seen) == {(2, (4, 3), False)}


def test_threads_come_back_after_a_failure() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(ModelError, match="the model fails on inputs of shape"):
        latency_ms(nn.Linear(3, 2), (4,), threads=threads + 1)
    assert torch.get_num_threads() == threads


def test_refusals() -> None:
    layer = nn.Linear(3, 2)
    with pytest.raises(ModelError, match=r"the model fails on inputs of shape \(4,\) .*give the shape"):
        multiply_adds(layer, (4,))
    with pytest.raises(ModelError, match="positive sizes, got 1 inputs of shape"):
        multiply_adds(layer, (0,))
    with pytest.raises(ModelError, match="positive sizes, got 0 inputs"):
        latency_ms(layer, (3,), batch=0)
    with pytest.raises(UsageError, match="at least 2 repeats and 1 thread, got 1 and 1"):
        latency_ms(layer, (3,), repeats=1)
    with pytest.raises(UsageError, match="got 30 and 0"):
        latency_ms(layer, (3,), threads=0)

    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(ModelError, match="expected a tensor of logits from the model, got a tuple"):
        multiply_adds(Two(), (3,))


def test_made_batches_have_the_models_format() -> None:
    x = made_batch(nn.Linear(3, 2).double(), (3,), 4, seed=1)
    assert x.dtype == torch.float64
    assert x.shape == (4, 3)
    assert 0 <= float(x.min()) <= float(x.max()) < 1
    assert torch.equal(x, made_batch(nn.Linear(3, 2).double(), (3,), 4, seed=1))
