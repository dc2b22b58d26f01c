"""Certified radii: closed forms for linear classifiers, and no attack succeeds inside them."""

from __future__ import annotations

import copy
from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from brittle.bounds.certificate import certified_radii
from brittle.bounds.ladder import lipschitz_constants
from brittle.operators.network import read_network
from brittle.threats import ball, in_box, inner
from tests.bounds.digits_nets import samples, trained
from tests.cases import normal

NORMS = ["linf", "l2"]


def exact_pairs(c: Tensor, norm: str) -> Tensor:
    return (c[:, None] - c).norm(1 if norm == "linf" else 2, dim=2)


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_classifier_flips_just_beyond_its_radius(norm: str) -> None:
    c, bias, x = normal(4, 6, seed=1), normal(4, seed=2), normal(50, 6, seed=3)
    logits = x @ c.T + bias
    y = logits.argmax(1)
    radii = certified_radii(logits, y, exact_pairs(c, norm), 0.0)
    for point, label, radius in zip(x, y, radii, strict=True):
        distances, steps = [], []
        for j in range(4):
            if j != label:
                normal_vector = c[j] - c[label]
                margin = -(normal_vector @ point + bias[j] - bias[label])
                dual = normal_vector.abs().sum() if norm == "linf" else normal_vector.norm()
                distances.append(float(margin / dual))
                steps.append(normal_vector.sign() if norm == "linf" else normal_vector / dual)
        nearest = min(range(3), key=distances.__getitem__)
        assert float(radius) == pytest.approx(distances[nearest], rel=1e-10)
        inside, beyond = (point + float(radius) * f * steps[nearest] for f in (1 - 1e-6, 1 + 1e-6))
        assert int((c @ inside + bias).argmax()) == int(label)
        assert int((c @ beyond + bias).argmax()) != int(label)


def test_the_smallest_ratio_counts_not_the_smallest_margin() -> None:
    logits = torch.tensor([[5.0, 4.0, 1.0]])
    pairs = torch.tensor([[0.0, 1.0, 16.0], [1.0, 0.0, 1.0], [16.0, 1.0, 0.0]])
    assert certified_radii(logits, torch.tensor([0]), pairs, 0.0).tolist() == pytest.approx([0.25])


def test_misclassified_and_tied_inputs_have_radius_zero() -> None:
    logits = torch.tensor([[1.0, 2.0], [2.0, 2.0], [2.0, 1.0]])
    found = certified_radii(logits, torch.tensor([0, 0, 0]), torch.ones(2, 2), 0.0)
    assert found.tolist() == pytest.approx([0.0, 0.0, 1.0])


def test_classes_with_the_same_row_never_lose_or_never_win() -> None:
    pairs = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 3.0, 1.0]])
    assert certified_radii(logits, torch.tensor([0, 0]), pairs, 0.0).tolist() == pytest.approx([1.0, 0.0])
    assert certified_radii(logits[:1], torch.tensor([0]), torch.zeros(3, 3), 0.0).tolist() == [inf]
    assert certified_radii(logits[1:], torch.tensor([0]), torch.zeros(3, 3), 0.0).tolist() == [0.0]


def test_slack_is_relative_to_the_largest_logit() -> None:
    logits, pairs = torch.tensor([[1.0, 0.5, -4.0]]), torch.ones(3, 3)
    assert certified_radii(logits, torch.tensor([0]), pairs, 0.01).tolist() == pytest.approx([0.46])
    assert certified_radii(logits, torch.tensor([0]), pairs, 0.2).tolist() == [0.0]


def test_what_is_not_a_number_certifies_nothing() -> None:
    nan = float("nan")
    ones, y = torch.ones(2, 2), torch.tensor([0])
    assert certified_radii(torch.tensor([[nan, 1.0]]), y, ones, 0.0).tolist() == [0.0]
    assert certified_radii(torch.tensor([[2.0, nan]]), y, ones, 0.0).tolist() == [0.0]
    assert certified_radii(torch.tensor([[inf, 1.0]]), y, ones, 1e-6).tolist() == [0.0]
    assert certified_radii(torch.tensor([[2.0, 1.0]]), y, ones * nan, 0.0).tolist() == [0.0]
    assert certified_radii(torch.tensor([[2.0, 1.0]]), y, ones * inf, 0.0).tolist() == [0.0]


def pgd(model: torch.nn.Module, x: Tensor, y: Tensor, norm: str, epsilon: float) -> Tensor:
    """Where 30 steps on the margin, from the point and from two random starts, flip the prediction: (b,)."""
    threat = inner(ball(norm, epsilon), x[0].numel())
    flipped = torch.zeros(len(x), dtype=torch.bool)
    rng = torch.Generator().manual_seed(0)
    for start in range(3):
        noise = torch.randn(x.shape, dtype=x.dtype, generator=rng)
        delta = in_box(x, threat.sample(noise) * (start > 0)) - x
        for _ in range(30):
            point = (x + delta).requires_grad_(True)
            logits = model(point)
            other = logits.masked_fill(F.one_hot(y, logits.shape[1]).bool(), -inf).amax(1)
            (gradient,) = torch.autograd.grad((other - logits.gather(1, y[:, None])[:, 0]).sum(), point)
            step = threat.steepest(gradient) * (epsilon / 8 if norm == "linf" else epsilon / 4)
            delta = in_box(x, threat.project(delta + step)) - x
            flipped |= model(x + delta).argmax(1) != y
    return flipped


@pytest.mark.parametrize(("norm", "radii"), [("linf", (0.005, 0.01, 0.02)), ("l2", (0.05, 0.1, 0.3))])
def test_no_certified_digit_is_flipped(norm: str, radii: tuple[float, ...]) -> None:
    model = copy.deepcopy(trained(0)).double()
    x, y = samples(150)
    pairs = lipschitz_constants(read_network(model, (1, 8, 8)), (), (norm,), {})[norm].pairs
    assert pairs is not None
    certified = certified_radii(model(x).detach(), y, pairs, 1e-9)
    shares = []
    for epsilon in radii:
        flipped = pgd(model, x, y, norm, epsilon)
        safe = certified > epsilon
        assert not bool((safe & flipped).any())
        shares.append((float(safe.double().mean()), 1 - float(flipped.double().mean())))
    # The test has teeth: something is certified at the smallest radius, something flips at the largest.
    assert shares[0][0] > 0.5
    assert shares[-1][1] < 0.98
