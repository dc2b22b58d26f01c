"""Made tasks whose best classifier is known, in pixels: what a network measures can be held against a formula.

Pixels are Gaussian around 1/2 with small deviations, so the pixel box is hardly ever met; formulas leave it out.
Legend: d pixels, n samples; Phi the normal distribution function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import erf, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from brittle.data.dataset import Dataset
from brittle.errors import DataError, UsageError
from brittle.threats import Ball

Vector = NDArray[np.float64]

# Samples of the splits, and the seed that a split's samples are drawn with.
SIZES = {"train": 1500, "validation": 400, "test": 4000}
_CENTRE = 0.5


@dataclass(frozen=True)
class GaussianPair:
    """Two Gaussian classes around `1/2 -+ mean` with one covariance `diag(deviations^2)`, equally likely.

    The best classifier is linear, `w = Sigma^{-1} mean` (Fisher 1936). Any linear one through the middle has the robust
    accuracy `Phi((w^t mean - epsilon ||w||_*) / sqrt(w^t Sigma w))`, ||.||_* the dual norm: every sample of the ball
    moves its score by `epsilon ||w||_*` at most, and one does.

    Attributes:
        mean: (d,) half the difference of the class means, pixel units.
        deviations: (d,) standard deviations, pixel units.
    """

    mean: tuple[float, ...]
    deviations: tuple[float, ...]

    @property
    def pixels(self) -> int:
        """d."""
        return len(self.mean)

    @property
    def classes(self) -> int:
        """Two."""
        return 2

    def draw(self, n: int, generator: np.random.Generator) -> tuple[Vector, NDArray[np.int64]]:
        """Pixels (n, d) in [0, 1] and labels (n,)."""
        y = generator.integers(0, 2, n)
        noise = generator.standard_normal((n, len(self.mean))) * np.array(self.deviations)
        x = _CENTRE + (2 * y - 1)[:, None] * np.array(self.mean) + noise
        return np.clip(x, 0.0, 1.0), y

    def best(self) -> Vector:
        """The best classifier's weights (d,)."""
        return np.array(self.mean) / np.square(self.deviations)

    def robust_accuracy(self, w: Vector, threat: Ball | None) -> float:
        """Accuracy in [0, 1] of the classifier `sign(w^t (x - 1/2))` under the worst of the ball; None for no ball."""
        reach = 0.0 if threat is None else threat.epsilon * float(threat.dual_length(torch.from_numpy(w)[None])[0])
        return _phi((float(w @ np.array(self.mean)) - reach) / float(np.linalg.norm(w * np.array(self.deviations))))

    def known_accuracy(self, threat: Ball | None) -> float:
        """Accuracy of `network` in [0, 1] under the worst of the ball; None for no ball."""
        return self.robust_accuracy(self.best(), threat)

    def network(self) -> nn.Module:
        """The best classifier as a network, pixels (b, d) -> logits (b, 2)."""
        w = torch.from_numpy(self.best()).float()
        head = nn.Linear(len(w), 2)
        with torch.no_grad():
            head.weight.copy_(torch.stack([-w, w]))
            head.bias.copy_(_CENTRE * torch.stack([w.sum(), -w.sum()]))
        return nn.Sequential(nn.Flatten(), head).eval()


@dataclass(frozen=True)
class PlaneSigns:
    """`y = [(u^t z)(v^t z) > 0]` with `z = x - 1/2` normal: a plane of two unit vectors u, v at right angles matters.

    No linear classifier is better than chance. `|a + b| - |a - b| = 2 sign(a b) min(|a|, |b|)` makes the truth a
    two-layer ReLU net of four neurons. A ball changes a label where it reaches across the nearer of two planes, so the
    truth's robust accuracy is `product over w in (u, v) of 2 (1 - Phi(epsilon ||w||_* / deviation))`.

    Attributes:
        u: (d,) of length 1.
        v: (d,) of length 1, orthogonal to u.
        deviation: of each pixel, pixel units.
    """

    u: tuple[float, ...]
    v: tuple[float, ...]
    deviation: float

    @property
    def pixels(self) -> int:
        """d."""
        return len(self.u)

    @property
    def classes(self) -> int:
        """Two."""
        return 2

    def draw(self, n: int, generator: np.random.Generator) -> tuple[Vector, NDArray[np.int64]]:
        """Pixels (n, d) in [0, 1] and labels (n,)."""
        x = np.clip(_CENTRE + self.deviation * generator.standard_normal((n, len(self.u))), 0.0, 1.0)
        along = (x - _CENTRE) @ self._plane
        return x, (along.prod(1) > 0).astype(np.int64)

    @cached_property
    def _plane(self) -> Vector:
        return np.stack([self.u, self.v], 1)

    def known_accuracy(self, threat: Ball | None) -> float:
        """Accuracy of `network` in [0, 1] under the worst of the ball; None for no ball."""
        if threat is None:
            return 1.0
        lengths = threat.dual_length(torch.from_numpy(self._plane.T.copy()))
        return float(np.prod([2 * (1 - _phi(threat.epsilon * float(one) / self.deviation)) for one in lengths]))

    def network(self) -> nn.Module:
        """The truth as a network with four hidden neurons, pixels (b, d) -> logits (b, 2)."""
        plus, minus = (torch.from_numpy(self._plane @ np.array(signs)).float() for signs in ((1.0, 1.0), (1.0, -1.0)))
        hidden, head = nn.Linear(len(plus), 4), nn.Linear(4, 2)
        with torch.no_grad():
            hidden.weight.copy_(torch.stack([plus, -plus, minus, -minus]))
            hidden.bias.copy_(-_CENTRE * hidden.weight.sum(1))
            score = torch.tensor([1.0, 1.0, -1.0, -1.0])
            head.weight.copy_(torch.stack([-score, score]))
            head.bias.zero_()
        return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), head).eval()


@dataclass(frozen=True)
class Clusters:
    """Spherical Gaussian classes, their means independent of each other: a hidden layer needs many directions.

    The best classifier names the nearest mean.

    Attributes:
        means: (classes, d), pixel units around 1/2.
        deviation: of each pixel.
    """

    means: tuple[tuple[float, ...], ...]
    deviation: float

    @property
    def pixels(self) -> int:
        """d."""
        return len(self.means[0])

    @property
    def classes(self) -> int:
        """As many as means."""
        return len(self.means)

    def draw(self, n: int, generator: np.random.Generator) -> tuple[Vector, NDArray[np.int64]]:
        """Pixels (n, d) in [0, 1] and labels (n,)."""
        means = np.array(self.means)
        y = generator.integers(0, len(means), n)
        x = _CENTRE + means[y] + self.deviation * generator.standard_normal((n, means.shape[1]))
        return np.clip(x, 0.0, 1.0), y


def linear() -> GaussianPair:
    """32 pixels; half of them weak and quiet, half strong and noisy, so the best weights are not the means."""
    generator = np.random.default_rng(1)
    strength = np.where(np.arange(32) % 2 == 0, 0.02, 0.05) * generator.choice([-1.0, 1.0], 32)
    return GaussianPair(tuple(strength.tolist()), tuple(np.where(np.arange(32) % 2 == 0, 0.06, 0.12).tolist()))


def two_layer() -> PlaneSigns:
    """16 pixels, a plane at random."""
    q = np.linalg.qr(np.random.default_rng(2).standard_normal((16, 2))).Q
    u = q[:, 0]
    v = q[:, 1] - (q[:, 1] @ u) * u
    v /= np.linalg.norm(v)
    return PlaneSigns(tuple(u.tolist()), tuple(v.tolist()), 0.15)


def spectrum() -> Clusters:
    """64 pixels, ten classes."""
    means = 0.08 * np.random.default_rng(3).standard_normal((10, 64))
    return Clusters(tuple(tuple(row) for row in means.tolist()), 0.14)


# What follows "synthetic:" -> the problem.
SYNTHETIC: dict[str, Callable[[], GaussianPair | PlaneSigns | Clusters]] = {
    "linear": linear,
    "two-layer": two_layer,
    "spectrum": spectrum,
}


def known_of(name: str) -> GaussianPair | PlaneSigns:
    """The made problem called `name`, whose most accurate classifier and its robust accuracies are known.

    Raises:
        UsageError: another one.
    """
    problem = SYNTHETIC[name]() if name in SYNTHETIC else None
    if problem is None or isinstance(problem, Clusters):
        raise UsageError(
            f"nobody knows the best accuracy on {name!r}: leave out the measure known, or take synthetic:linear"
        )
    return problem


def load_synthetic(name: str) -> Dataset:
    """The made data set called `name` in `SYNTHETIC`: pixels (n, d), splits as in `SIZES`, always the same samples.

    Raises:
        DataError: no such name.
    """
    if name not in SYNTHETIC:
        raise DataError(f"unknown made data {name!r}: expected synthetic: and one of {', '.join(SYNTHETIC)}")
    problem = SYNTHETIC[name]()

    def load(split: str) -> tuple[Tensor, Tensor]:
        generator = np.random.default_rng([list(SIZES).index(split), len(name)])
        x, y = problem.draw(SIZES[split], generator)
        return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.int64))

    classes = tuple(map(str, range(problem.classes)))
    return Dataset(f"synthetic:{name}", classes, (problem.pixels,), tuple(SIZES), load)


def _phi(value: float) -> float:
    return (1 + erf(value / sqrt(2))) / 2
