"""Small parts for tests of the engine: an objective with a state, a penalty with a known gradient and proximal step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.models.recipe import Recipe, build


def digits(n: int | None = None) -> tuple[Split, Split]:
    """The first n training samples of digits (all: None), and its validation split."""
    data = load_data("digits")
    train = data.split("train")
    return (train if n is None else Split(train.x[:n], train.y[:n])), data.split("validation")


def mlp(width: int = 16, depth: int = 1) -> nn.Module:
    return build(Recipe("mlp", (1, 8, 8), 10, {"width": width, "depth": depth}), seed=0)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@dataclass(frozen=True)
class Counting:
    """Cross-entropy on noisy pixels, the noise larger with every call: random numbers and a state that matter.

    `told` hears the number of each call.
    """

    told: Callable[[int], None] | None = None
    cost: float = 3.0
    name: str = "counting"

    def __repr__(self) -> str:
        return "Counting()"

    def start(self) -> _Counting:
        return _Counting(self.told)


class _Counting:
    def __init__(self, told: Callable[[int], None] | None) -> None:
        self.told = told
        self.calls = torch.zeros((), dtype=torch.int64)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        self.calls += 1
        if self.told is not None:
            self.told(int(self.calls))
        noise = torch.randn(x.shape, generator=generator).to(x)
        return F.cross_entropy(model(x + 0.001 * self.calls * noise), y, reduction="none")

    def state(self) -> dict[str, Tensor]:
        return {"calls": self.calls}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.calls = state["calls"]


class Ridge:
    """Half the sum of squares: gradient W, proximal step W / (1 + step)."""

    name = "ridge"

    def __repr__(self) -> str:
        return "Ridge()"

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        return torch.stack([w.square().sum() / 2 for w in weights]).sum()

    def start(self) -> _Ridge:
        return _Ridge()

    def prox(self, weight: Tensor, step: float) -> Tensor:
        return weight / (1 + step)


class _Ridge:
    """Stronger by a thousandth with every call: a state that matters."""

    def __init__(self) -> None:
        self.calls = torch.zeros((), dtype=torch.int64)

    def __call__(self, weights: Sequence[Tensor]) -> Tensor:
        value = Ridge().value(weights) * (1 + 0.001 * self.calls)
        self.calls += 1
        return value

    def state(self) -> dict[str, Tensor]:
        return {"calls": self.calls}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.calls = state["calls"]


class Plain:
    """A penalty without a proximal step."""

    name = "plain"
    value = Ridge.value
    start = Ridge.start


TOYS = {"ridge": Ridge(), "plain": Plain()}
