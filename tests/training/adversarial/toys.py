"""Small nets whose worst perturbations are known, and one that counts what it is asked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from brittle.models.recipe import Recipe, build
from brittle.threats import Ball


class Folded(nn.Module):
    """M nets with one hidden layer at once: (M*b, d) -> (M*b, classes), member after member."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(first.clone()), nn.Parameter(second.clone())

    def forward(self, x: Tensor) -> Tensor:
        each = x.view(len(self.first), -1, x.shape[1])
        return ((each @ self.first).relu() @ self.second).flatten(0, 1)

    def member(self, m: int) -> Folded:
        return Folded(self.first.detach()[m : m + 1], self.second.detach()[m : m + 1])


def folded(members: int, seed: int = 0) -> Folded:
    g = torch.Generator().manual_seed(seed)
    first = torch.randn(members, 6, 8, generator=g, dtype=torch.float64)
    return Folded(first, torch.randn(members, 8, 3, generator=g, dtype=torch.float64))


class TwoClasses(nn.Module):
    """Logits (0, w . x + c): everything about it depends on one number, the margin."""

    def __init__(self, w: Sequence[float], c: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))
        self.c = nn.Parameter(torch.tensor(c, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        margin = x @ self.w + self.c
        return torch.stack([torch.zeros_like(margin), margin], 1)


class Counted(nn.Module):
    """Counts the samples it meets while gradients are recorded: those a gradient is taken of."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.samples = 0

    def forward(self, x: Tensor) -> Tensor:
        self.samples += len(x) * torch.is_grad_enabled()
        return self.inner(x)


class Spying(nn.Module):
    """Remembers every batch it meets, and whether in train mode."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.met: list[tuple[Tensor, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.met.append((x.detach().clone(), self.training))
        return self.inner(x)


def small_cnn(batch_norm: bool = True) -> nn.Module:
    options = {"channels": (3,), "fc": (), "batch_norm": batch_norm}
    return build(Recipe("cnn", (1, 8, 8), 10, options), seed=0).train()


def images(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pixels, some of them at the walls of the box, and labels."""
    g = torch.Generator().manual_seed(seed)
    x = (2 * torch.rand(n, 1, 8, 8, generator=g) - 0.5).clamp(0, 1)
    return x, torch.randint(10, (n,), generator=g)


def rows(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pixels (n, 6) in float64 and labels of three classes."""
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 6, generator=g, dtype=torch.float64), torch.randint(3, (n,), generator=g)


def inside(x: Tensor, x_adv: Tensor, threat: Ball) -> bool:
    """In ball and box, in exact arithmetic on what was rounded."""
    length = threat.length(x_adv.double() - x.double())
    return bool((length <= threat.epsilon).all()) and float(x_adv.min()) >= 0 and float(x_adv.max()) <= 1


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
