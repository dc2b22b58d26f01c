"""Planted structure."""

from __future__ import annotations

import pytest
import torch

from brittle.models.recipe import build, parse_zoo
from brittle.studies.sources.plant import plant_rows, plant_spectrum
from brittle.studies.sources.scale import scales


def net() -> torch.nn.Module:
    return build(parse_zoo("zoo:mlp?width=20&depth=2", (1, 4, 4), 3), seed=1)


def weight(model: torch.nn.Module, name: str) -> torch.Tensor:
    return model.get_submodule(name).weight.detach().double()  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_the_spectrum_is_raised_and_nothing_else_changes(strength: float) -> None:
    before = net()
    after = plant_spectrum(before, strength)
    assert scales(after) == pytest.approx(scales(before), rel=1e-5)
    for name in ("fc1", "fc2"):
        u, sigma, vt = torch.linalg.svd(weight(before, name), full_matrices=False)
        wanted = sigma ** (1 + 5 * strength)
        wanted *= sigma.norm() / wanted.norm()
        torch.testing.assert_close(weight(after, name), (u * wanted) @ vt, atol=1e-6, rtol=1e-5)
    changed = {k for k, v in after.state_dict().items() if not torch.equal(v, before.state_dict()[k])}
    assert changed == {"fc1.weight", "fc2.weight"}


def test_row_norms_decay_from_the_longest_to_the_last() -> None:
    before = net()
    after = plant_rows(before, 0.5)
    assert scales(after) == pytest.approx(scales(before), rel=1e-5)
    old, new = (weight(model, "fc2") for model in (before, after))
    order = old.abs().sum(1).argsort(descending=True)
    gains = (new.abs().sum(1) / old.abs().sum(1))[order]
    torch.testing.assert_close((gains / gains[0]).log(), -0.25 * torch.arange(20.0).double(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(new / new.norm(dim=1, keepdim=True), old / old.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("plant", [plant_spectrum, plant_rows])
def test_strength_zero_changes_no_bit_and_the_net_is_left_alone(plant) -> None:  # type: ignore[no-untyped-def]
    before = net()
    for strength in (0.0, 1.0):
        after = plant(before, strength)
        for name, value in net().state_dict().items():
            assert torch.equal(before.state_dict()[name], value)
            assert strength or torch.equal(after.state_dict()[name], value)
