"""Nets that several benchmarks share, trained once and kept in benchmarks/.nets (ignored by git)."""

from __future__ import annotations

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from brittle.attacks.gradient import input_gradient
from brittle.attacks.losses import cross_entropy
from brittle.data.load import load_data
from brittle.models.file import load, save
from brittle.models.recipe import Recipe, build

KEPT = Path(__file__).parent / ".nets"
FASHION = "fashion-mnist:../shared/data/fashion_mnist"
# Light adversarial training: random-start single steps (Wong et al. 2020) at this l_inf radius.
RADIUS, EPOCHS, BATCH, RATE = 0.1, 3, 128, 1e-3


def light_cnn(seed: int = 0) -> nn.Module:
    """A convolutional net for Fashion-MNIST (166 k parameters), adversarially trained lightly; about 2 CPU minutes."""
    kept = KEPT / f"light-cnn-{seed}.safetensors"
    if kept.exists():
        return load(kept)
    data = load_data(FASHION)
    train = data.split("train")
    model = build(Recipe("cnn", data.input_shape, len(data.classes), {}), seed=seed).train()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    steps = EPOCHS * (len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3 * RATE, total_steps=steps)
    started = time.process_time()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(train), generator=generator)[: steps // EPOCHS * BATCH].split(BATCH):
            x, y = train.x[chosen], train.y[chosen]
            start = (x + RADIUS * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1)
            _, _, gradient = input_gradient(model, start, y, cross_entropy)
            delta = (start + 1.25 * RADIUS * gradient.sign() - x).clamp(-RADIUS, RADIUS)
            loss = F.cross_entropy(model((x + delta).clamp(0, 1)), y)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    print(f"trained the light CNN, seed {seed}, in {time.process_time() - started:.0f} CPU s", flush=True)
    KEPT.mkdir(exist_ok=True)
    save(model.eval(), kept)
    return model
