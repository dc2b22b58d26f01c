"""Corollary 3.3: the gap's bound is linear in the radius, and no perturbed cross-entropy exceeds it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from brittle.bounds.risk import gap
from tests.cases import normal


def test_the_largest_pair_times_the_radius() -> None:
    pairs = torch.tensor([[0.0, 3.0], [3.0, 0.0]], dtype=torch.float64)
    found = gap("l2", 0.5, 0.25, 1.0, pairs, 7)
    assert (found.norm, found.epsilon, found.measured, found.n) == ("l2", 0.5, 0.75, 7)
    assert found.bound == pytest.approx(1.5)
    assert found.bound is not None
    assert found.bound >= 1.5


def test_without_a_constant_there_is_no_bound() -> None:
    assert gap("linf", 0.1, 0.0, 0.5, None, 1).bound is None


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_perturbation_raises_the_loss_by_more(norm: str) -> None:
    c, x = normal(5, 8, seed=1), normal(40, 8, seed=2)
    y = torch.arange(40) % 5
    pairs = (c[:, None] - c).norm(1 if norm == "linf" else 2, dim=2)
    clean = F.cross_entropy(x @ c.T, y, reduction="none")
    for epsilon in (0.01, 0.3, 5.0):
        worst = clean
        for j in range(5):  # towards each class: for far classes and large radii this is the bound itself
            direction = c[j] - c[y]
            unit = direction.sign() if norm == "linf" else F.normalize(direction, dim=1)
            worst = torch.maximum(worst, F.cross_entropy((x + epsilon * unit) @ c.T, y, reduction="none"))
        found = gap(norm, epsilon, float(clean.mean()), float(worst.mean()), pairs, 40)
        assert found.bound is not None
        assert 0 < found.measured <= found.bound
        assert found.bound <= 4 * found.measured or epsilon < 5
