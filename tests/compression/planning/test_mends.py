"""Mending a child: what stays of each side, which layers are fitted, and that fitting makes good what went."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from brittle.compression.factorise import factorise
from brittle.compression.planning.mends import Cut, Refitted, data_aware, fittable, plain
from brittle.compression.removal import remove, without_units
from brittle.models.layers import LowRankLinear
from tests.compression.planned_nets import cnn, cnn_couplings, evidence

KEPT = {"conv2": tuple(range(0, 16, 2)), "fc1": tuple(range(25))}


def cut(ranks: dict[str, int] | None = None, kept: dict[str, tuple[int, ...]] = KEPT) -> Cut:
    return Cut(cnn(), cnn_couplings(), kept, ranks or {})


def test_a_cut_knows_what_stays_of_every_side() -> None:
    some = cut()
    assert some.stays("conv1", "out") is None
    assert some.stays("conv2", "in") is None
    assert some.stays("conv2", "out").tolist() == list(KEPT["conv2"])
    per_channel = some.parent.fc1.in_features // 16
    assert some.stays("fc1", "in").tolist() == [c * per_channel + i for c in KEPT["conv2"] for i in range(per_channel)]
    assert some.stays("head", "in").tolist() == list(range(25))


def test_plain_is_truncated_svd_and_data_aware_is_better_on_the_data() -> None:
    x, ranks = evidence(120).x, {"fc1": 5}
    errors = {}
    for name, mend in {"plain": plain, "data": data_aware}.items():
        child = mend(cnn(), cut(ranks, {}), x, seed=0)
        assert isinstance(child.fc1, LowRankLinear)
        with torch.no_grad():
            errors[name] = float((child(x) - cnn()(x)).square().mean())
        if name == "plain":
            twin = factorise(cnn(), ranks)
            assert torch.allclose(child(x), twin(x), atol=1e-5)
    assert errors["data"] < errors["plain"]


def refitted(ranks: dict[str, int] | None = None, ridge: float = 1e-6) -> nn.Module:
    some = cut(ranks)
    return Refitted(ridge)(without_units(some.parent, some.kept, some.couplings), some, evidence(240).x, seed=0)


def logit_error(child: nn.Module) -> float:
    x = evidence(240).x
    with torch.no_grad():
        return float((child(x) - cnn()(x)).square().mean())


@pytest.mark.parametrize("ranks", [{}, {"fc1": 6, "conv2": 3}], ids=["widths", "widths and ranks"])
def test_fitting_again_makes_good_what_went(ranks: dict[str, int]) -> None:
    before = factorise(remove(cnn(), KEPT, cnn_couplings()), ranks)
    assert logit_error(refitted(ranks)) < 0.2 * logit_error(before)


def test_the_last_layer_is_least_squares_of_the_parents_logits() -> None:
    """It is fitted last, to what the layers before it, already fitted, really give it."""
    child, x = refitted(), evidence(240).x
    inputs: list[torch.Tensor] = []
    handle = child.head.register_forward_hook(lambda _, args, out: inputs.append(args[0].detach().double()))
    with torch.no_grad():
        child(x)
        wanted = cnn()(x).double().numpy()
    handle.remove()
    design = np.hstack([inputs[0].numpy(), np.ones((240, 1))])
    best = np.square(design @ np.linalg.lstsq(design, wanted, rcond=None)[0] - wanted).mean()
    assert logit_error(child) == pytest.approx(best, rel=0.02)


def test_layers_before_the_first_change_keep_their_weights() -> None:
    child = refitted(ridge=0.1)
    assert torch.equal(child.conv1.weight, cnn().conv1.weight)
    assert torch.equal(child.conv2.weight, cnn().conv2.weight[list(KEPT["conv2"])]), "its inputs are the parent's"
    assert not torch.allclose(child.fc1.weight, remove(cnn(), KEPT, cnn_couplings()).fc1.weight)


def test_without_a_change_nothing_is_fitted() -> None:
    model = cnn()
    child = Refitted()(cnn(), Cut(model, cnn_couplings(), {}, {}), evidence(30).x, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(child.parameters(), model.parameters(), strict=True))


def test_only_plain_layers_of_both_networks_are_fitted() -> None:
    class Net(nn.Module):
        def __init__(self, groups: int, extra: bool) -> None:
            super().__init__()
            self.unused = nn.Linear(3, 3)
            self.b = nn.Linear(4, 2)
            self.a = nn.Conv2d(4, 4, 3, groups=groups)
            self.c = nn.Linear(2, 2) if extra else nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(self.b(self.a(x).mean((2, 3))))

    x = torch.rand(2, 4, 5, 5)
    assert fittable(Net(1, True), Net(1, False), x) == ["a", "b"]
    assert fittable(Net(4, True), Net(4, True), x) == ["b", "c"]
