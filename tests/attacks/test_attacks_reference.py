"""APGD beside the authors' own implementation, where the optional `pyautoattack` is installed."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.threats import ball


@pytest.mark.parametrize(("norm", "reference", "epsilon"), [("linf", "Linf", 0.1), ("l2", "L2", 0.5)])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_as_strong_as_the_reference(norm, reference, epsilon, loss):
    oracle = pytest.importorskip("pyautoattack.autopgd_base", reason="needs the optional package pyautoattack")
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(20):
        for part in torch.randperm(1000).split(100):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimiser.step()
    model.eval()
    x, y = x[1000:], y[1000:]
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
    left = [
        float((model(x_adv).argmax(1) == y).double().mean())
        for x_adv in (
            APGD(50, loss)(model, x, y, ball(norm, epsilon), indices=torch.arange(len(x)), seed=0),
            theirs.perturb(x, y),
        )
    ]
    assert 0.1 < left[1] < 0.8
    assert left[0] <= left[1] + 0.01
