"""Singular vectors of stacked Jacobians, against dense Jacobians in float64 and brute force."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from brittle.attacks.singular_start import SingularStart, singular_vector
from brittle.attacks.universal import SteepestAscent, fit_universal
from brittle.attacks.universal_goal import Leave
from brittle.errors import ModelError, UsageError
from brittle.threats import ball

DIM = 10


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(DIM, 7), nn.Tanh(), nn.Linear(7, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)).double()


def images(n=9):
    return torch.rand(n, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def stacked(function, x):
    """Jacobians of the flattened outputs at each image, one below the other."""
    return torch.cat(
        [torch.autograd.functional.jacobian(lambda p: function(p[None]).flatten(), row).flatten(1) for row in x]
    )


PARTS = {None: slice(0, 4), "0": slice(0, 1), "1": slice(0, 2), "2": slice(0, 3), "": slice(0, 5)}


@pytest.mark.parametrize("layer", PARTS, ids=str)
def test_euclidean_vector_is_that_of_the_singular_value_decomposition(layer):
    model, x = net(), images()
    _, sigma, vt = torch.linalg.svd(stacked(model[PARTS[layer]], x), full_matrices=False)
    found = singular_vector(model, x, ball("l2", 1.0), layer=layer, q=2.0, steps=3000)
    assert found.value <= float(sigma[0]) * (1 + 1e-12)
    assert found.value == pytest.approx(float(sigma[0]), rel=1e-3)
    assert abs(float(found.vector @ vt[0])) > 0.99


@pytest.mark.parametrize("q", [1.0, 2.0, 10.0, 300.0])
def test_corners_come_near_the_best_of_all_corners(q):
    model, x = net(), images()
    jacobian = stacked(model[:4], x)
    corners = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=DIM)), dtype=torch.float64)
    values = torch.linalg.vector_norm(corners @ jacobian.T, ord=q, dim=1)
    found = [singular_vector(model, x, ball("linf", 1.0), q=q, number=number) for number in range(6)]
    for one in found:
        assert bool((one.vector.abs() == 1).all())
        assert one.value == pytest.approx(float(torch.linalg.vector_norm(jacobian @ one.vector, ord=q)), rel=1e-9)
    assert max(one.value for one in found) == pytest.approx(float(values.max()), rel=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_iterates_never_fall(norm):
    found = singular_vector(net(), images(), ball(norm, 1.0), q=4.0)
    assert len(found.values) >= 2
    assert all(later > before for before, later in itertools.pairwise(found.values))
    assert found.value == found.values[-1]


def test_the_batch_size_does_not_matter():
    whole = singular_vector(net(), images(), ball("l2", 1.0), batch_size=64)
    parts = singular_vector(net(), images(), ball("l2", 1.0), batch_size=4)
    torch.testing.assert_close(parts.vector, whole.vector, rtol=0, atol=1e-9)


def test_a_convolution_before_an_inplace_step_is_read_before_it_is_overwritten():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 2)).double()
    x = torch.rand(5, 1, 4, 4, dtype=torch.float64)
    sigma = torch.linalg.svdvals(stacked(model[0], x))
    found = singular_vector(model, x, ball("l2", 1.0), layer="0", q=2.0, steps=3000)
    assert found.value == pytest.approx(float(sigma[0]), rel=1e-3)
    assert found.vector.shape == (1, 4, 4)
    assert not model[0]._forward_hooks


def test_a_layer_that_does_not_move_has_value_zero():
    model = net()
    with torch.no_grad():
        model[0].weight.zero_()
    assert singular_vector(model, images(), ball("linf", 1.0)).values == (0.0,)


def test_the_start_takes_the_better_sign_at_full_length():
    model, x = net(), images(40)
    for labels in (torch.zeros(40, dtype=torch.int64), torch.ones(40, dtype=torch.int64), model(x).argmax(1)):
        arguments = {"number": 0, "seed": 0, "batch_size": 16}
        delta = SingularStart()(model, x, labels, Leave(), ball("linf", 0.2), **arguments)
        shares = [float((model((x + s * delta).clamp(0, 1)).argmax(1) != labels).double().mean()) for s in (1, -1)]
        assert shares[0] >= shares[1]
        assert bool((delta.abs() == 0.2).all())


def test_alone_it_is_a_universal_perturbation():
    model, x = net(), images(40)
    start = SingularStart(images=8)
    method = SteepestAscent(steps=0, starts=(start,))
    delta = fit_universal(model, x, model(x).argmax(1), ball("l2", 0.5), method=method, seed=3, batch_size=16)
    assert float(delta.norm()) == pytest.approx(0.5, rel=1e-6)
    assert delta.abs().min() > 0
    assert start.name == "singular"
    assert SingularStart("conv1").name == "singular@conv1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 0}, "needs images >= 1, got 0"),
        ({"q": 0.5}, "finite and >= 1, got 0.5"),
        ({"steps": 0}, "steps >= 1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(UsageError, match=message):
        SingularStart(**settings)


def test_arguments_out_of_range():
    with pytest.raises(UsageError, match="finite and >= 1, got inf"):
        singular_vector(net(), images(), ball("l2", 1.0), q=float("inf"))
    with pytest.raises(UsageError, match="batch size must be >= 1, got 0"):
        singular_vector(net(), images(), ball("l2", 1.0), batch_size=0)
    with pytest.raises(ModelError, match="no layer 'fc9' in the model: expected one of 0, 1, 2, 3, 4"):
        singular_vector(net(), images(), ball("l2", 1.0), layer="fc9")


def test_a_layer_without_a_tensor_row_per_sample():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two, self.head = Two(), nn.Linear(DIM, 2).double()

        def forward(self, x):
            return self.head(self.two(x)[0])

    with pytest.raises(ModelError, match="layer 'two' does not return one tensor row per sample"):
        singular_vector(Net(), images(), ball("l2", 1.0), layer="two")
