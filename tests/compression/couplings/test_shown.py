"""Wrong couplings do not pass, and cost the right ones nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.compression.couplings.shown import shown
from tests.compression.coupled_nets import case


def _swapped(coupling: Coupling) -> Coupling:
    """The last layer's positions belong to other units."""
    *others, last = coupling.members
    return replace(coupling, members=(*others, replace(last, index=(*last.index[1:], last.index[0]))))


def _forgotten(coupling: Coupling) -> Coupling:
    return replace(coupling, members=coupling.members[:-1])


def _extended(coupling: Coupling) -> Coupling:
    """A layer that has nothing to do with it."""
    other = "conv2" if coupling.name == "fc1" else "head"
    return replace(coupling, members=(*coupling.members, Member(other, "in", coupling.members[0].index)))


def _outputs(_: Coupling) -> Coupling:
    return Coupling(
        "head",
        "neurons",
        5,
        (Member("head", "out", tuple((i,) for i in range(5))), case("cnn").couplings[2].members[1]),
    )


@pytest.mark.parametrize("spoil", [_swapped, _forgotten, _extended, _outputs])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_wrong_coupling_is_left_out_alone(spoil: object, which: int) -> None:
    net = case("cnn")
    found = list(net.couplings)
    found[which] = spoil(found[which])  # type: ignore[operator]
    right = [coupling for i, coupling in enumerate(net.couplings) if i != which]
    if spoil is _outputs:  # reads the neurons of fc1, which then cannot be kept apart
        assert found[which] not in shown(net.model, net.shape, found)
    else:
        assert list(shown(net.model, net.shape, found)) == right


def test_right_ones_pass_together_in_order() -> None:
    net = case("resnet, projected")
    assert shown(net.model, net.shape, net.couplings) == net.couplings
    assert shown(net.model, net.shape, ()) == ()


def test_units_that_no_output_feels_prove_nothing() -> None:
    class Muted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + 0 * self.b(self.a(x))

    # The positions are wrong, and no output could tell.
    wrong = Coupling("a", "neurons", 3, (Member("a", "out", ((0,), (1,), (2,))), Member("b", "in", ((3,), (4,), (5,)))))
    assert shown(Muted(), (4,), [wrong]) == ()


def test_the_model_is_left_alone() -> None:
    net = case("cnn, norms and pools")
    before = {k: v.clone() for k, v in net.model.state_dict().items()}
    shown(net.model, net.shape, net.couplings)
    assert all(torch.equal(v, before[k]) for k, v in net.model.state_dict().items())
