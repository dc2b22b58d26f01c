"""APGD beside the authors' own implementation, where the optional `pyautoattack` is installed."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.attacks.pgd import PGD
from brittle.threats import ball

CASES = [("linf", "Linf", 0.1), ("l2", "L2", 0.5), ("l1", "L1", 2.0)]


@cache
def trained():
    """A small digits net, and test images with labels."""
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(20):
            for part in torch.randperm(1000).split(100):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(x[part]), y[part]).backward()
                optimiser.step()
    return model.eval(), x[1000:], y[1000:]


def accuracies(attack, norm, reference, epsilon, loss):
    """What our attack leaves, and what 50 steps of the reference leave."""
    oracle = pytest.importorskip("pyautoattack.autopgd_base", reason="needs the optional package pyautoattack")
    model, x, y = trained()
    theirs = oracle.APGDAttack(
        model,
        n_iter=50,
        norm=reference,
        n_restarts=1,
        eps=epsilon,
        seed=0,
        loss=loss,
        eot_iter=1,
        rho=0.75,
        device="cpu",
    )
    ours = attack(model, x, y, ball(norm, epsilon), indices=torch.arange(len(x)), seed=0)
    return [float((model(x_adv).argmax(1) == y).double().mean()) for x_adv in (ours, theirs.perturb(x, y))]


@pytest.mark.parametrize(("norm", "reference", "epsilon"), CASES)
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_apgd_is_as_strong_as_the_reference(norm, reference, epsilon, loss):
    ours, theirs = accuracies(APGD(50, loss), norm, reference, epsilon, loss)
    assert 0.1 < theirs < 0.8
    assert ours <= theirs + 0.01


def test_pgd_in_l1_comes_close_to_the_reference():
    ours, theirs = accuracies(PGD(50), "l1", "L1", 2.0, "ce")
    assert ours <= theirs + 0.02
