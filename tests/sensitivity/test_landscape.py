from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from brittle.errors import DataError, ModelError, UsageError
from brittle.sensitivity.landscape import landscape, principal_plane
from brittle.threats import ball


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _net(width: int = 5) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3)).double().eval()


def _data(n: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.rand(n, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, (x + 0.1 * _normal(n, 2, 4, seed=2)).clamp(0, 1), torch.arange(n) % 3


def test_coordinates_and_variance_are_those_of_another_pca():
    net, (x, x_adv, y) = _net(), _data()
    found = landscape(net, x, x_adv, y, ball("linf", 0.1), seed=0, batch_size=7)
    z = net[:3](torch.cat([x, x_adv])).detach().numpy()
    other = PCA(2).fit(z)
    expected = other.transform(z)
    mine = np.array([*found.clean, *found.attacked])
    signs = np.sign((mine * expected).sum(0))
    assert mine == pytest.approx(expected * signs, abs=1e-9)
    assert found.variance == pytest.approx(tuple(other.explained_variance_ratio_))
    assert (found.norm, found.epsilon, found.labels) == ("linf", 0.1, tuple(y.tolist()))


def test_regions_are_what_the_head_says_of_points_of_the_plane():
    net, (x, x_adv, y) = _net(), _data()
    found = landscape(net, x, x_adv, y, ball("linf", 0.1), seed=0, batch_size=100, grid=9)
    z = net[:3](torch.cat([x, x_adv])).detach()
    # the plane again, from the coordinates: z - mean = coordinates @ plane + what is orthogonal to it
    mine = torch.tensor([*found.clean, *found.attacked], dtype=torch.float64)
    plane = torch.linalg.lstsq(mine, z - z.mean(0)).solution
    left, right, bottom, top = found.extent
    assert [len(row) for row in found.regions] == [9] * 9
    for i in (0, 3, 8):
        for j in (0, 5, 8):
            across, up = left + (right - left) * j / 8, bottom + (top - bottom) * i / 8
            point = z.mean(0) + across * plane[0] + up * plane[1]
            assert found.regions[i][j] == int(net[3](point).argmax())
    assert len({c for row in found.regions for c in row}) > 1
    width, height = mine.amax(0) - mine.amin(0)
    assert left == pytest.approx(float(mine[:, 0].min() - 0.05 * width))
    assert top == pytest.approx(float(mine[:, 1].max() + 0.05 * height))


def test_component_signs_do_not_depend_on_the_solver():
    z = _normal(30, 6, seed=0)
    centre, plane, variance = principal_plane(z)
    values, vectors = torch.linalg.eigh((z - z.mean(0)).T @ (z - z.mean(0)))
    for i in range(2):
        v = vectors[:, -1 - i]
        torch.testing.assert_close(plane[i], v * v[v.abs().argmax()].sign())
        assert variance[i] == pytest.approx(float(values[-1 - i] / values.sum()))
    torch.testing.assert_close(centre, z.mean(0))


def test_many_samples_are_thinned_by_the_seed():
    net, (x, x_adv, y) = _net(), _data()
    found = landscape(net, x, x_adv, y, ball("l2", 0.1), seed=0, batch_size=8, most=10)
    assert len(found.clean) == len(found.attacked) == len(found.labels) == 10
    again = landscape(net, x, x_adv, y, ball("l2", 0.1), seed=0, batch_size=3, most=10)
    assert np.array(again.clean) == pytest.approx(np.array(found.clean), abs=1e-9)
    assert landscape(net, x, x_adv, y, ball("l2", 0.1), seed=1, batch_size=8, most=10).labels != found.labels
    assert len(landscape(net, x, x_adv, y, ball("l2", 0.1), seed=1, batch_size=8).clean) == 40
    assert len(found.regions) == len(found.regions[0]) == 60


def test_clean_and_attacked_points_belong_to_one_sample():
    net, (x, x_adv, y) = _net(), _data()
    x_adv[4:] = x[4:]
    found = landscape(net, x, x_adv, y, ball("l2", 0.1), seed=0, batch_size=8)
    assert found.clean[4:] == found.attacked[4:]
    assert all(a != b for a, b in zip(found.clean[:4], found.attacked[:4], strict=True))


def test_logits_stand_in_for_a_model_without_a_head():
    class Headless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = _net()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * 2

    net, (x, x_adv, y) = Headless().train(), _data()
    net.inner.eval()
    found = landscape(net, x, x_adv, y, ball("l2", 0.1), seed=0, batch_size=8)
    logits = net(torch.cat([x, x_adv])).detach()
    lengths = (logits - logits.mean(0)).square().sum()
    shown = torch.tensor([*found.clean, *found.attacked]).square().sum()
    assert float(shown / lengths) == pytest.approx(sum(found.variance))
    assert net.training
    assert net.inner.training is False


def test_a_representation_on_a_line_still_has_an_extent():
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 2), nn.Linear(2, 3)).double().eval()
    with torch.no_grad():
        net[1].weight[1] = 2 * net[1].weight[0]
    x, x_adv, y = _data()
    found = landscape(net, x, x_adv, y, ball("l2", 0.1), seed=0, batch_size=8)
    assert found.variance == pytest.approx((1.0, 0.0))
    assert found.extent[0] < found.extent[1]
    assert found.extent[2] < found.extent[3]


def test_float32_models_and_hooks():
    net, (x, x_adv, y) = _net().float(), _data()
    found = landscape(net, x.float(), x_adv.float(), y, ball("l2", 0.1), seed=0, batch_size=8)
    exact = landscape(_net(), x, x_adv, y, ball("l2", 0.1), seed=0, batch_size=8)
    assert np.array(found.clean) == pytest.approx(np.array(exact.clean), abs=1e-4)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"most": 1}, UsageError, "at least 2 samples and a grid of at least 2, got most=1, grid=60"),
        ({"grid": 1}, UsageError, "got most=300, grid=1"),
        ({"batch_size": 0}, UsageError, "batch size must be >= 1"),
        ({"x_adv": torch.zeros(3, 2, 4)}, DataError, r"attacked pixels of shape \(40, 2, 4\), got \(3, 2, 4\)"),
        ({"x_adv": torch.full((40, 2, 4), torch.inf)}, DataError, "expected finite attacked pixels"),
        ({"model": _net(1)}, ModelError, "at least 2 numbers to draw a plane, got 1"),
    ],
)
def test_bad_input_is_refused(changes, error, message):
    x, x_adv, y = _data()
    given = {"model": _net(), "x": x, "x_adv": x_adv, "y": y, "batch_size": 8, **changes}
    with pytest.raises(error, match=message):
        landscape(threat=ball("l2", 0.1), seed=0, **given)


def test_representations_that_are_equal_or_broken_are_refused():
    net, (x, x_adv, y) = _net(), _data()
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.fill_(0.3)
    with pytest.raises(DataError, match="expected representations that differ, got 80 equal ones"):
        landscape(net, x, x_adv, y, ball("l2", 0.1), seed=0, batch_size=8)
    net[1].bias.data[0] = torch.inf
    with pytest.raises(ModelError, match="expected finite representations, got NaN or infinity"):
        landscape(net, x, x_adv, y, ball("l2", 0.1), seed=0, batch_size=8)
