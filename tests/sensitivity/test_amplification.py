from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from brittle.attacks.noise import sample_noise
from brittle.errors import DataError, ModelError, UsageError
from brittle.models.layers import LowRankLinear
from brittle.models.recipe import Recipe, build
from brittle.sensitivity.amplification import amplification, like_noise, weight_layers
from brittle.threats import ball


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _middle(n: int, d: int, seed: int = 0) -> Tensor:
    """Pixels away from the walls."""
    return 0.4 + 0.2 * torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _two_layers() -> tuple[nn.Module, Tensor, Tensor]:
    net = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3)).double().eval()
    with torch.no_grad():
        net[0].weight.copy_(_normal(5, 6, seed=1))
        net[2].weight.copy_(_normal(3, 5, seed=2))
    return net, net[0].weight.detach(), net[2].weight.detach()


def test_ratios_are_those_computed_by_hand():
    net, w1, w2 = _two_layers()
    x, y = _middle(40, 6), torch.zeros(40).long()
    delta = 0.05 * torch.nn.functional.normalize(_normal(40, 6, seed=3), dim=1)
    first, head = amplification(net, x, x + delta, y, ball("l2", 0.05), seed=0, batch_size=7)
    noise = sample_noise(0, range(40), (6,), "amplification", dtype=torch.float64, device="cpu")
    noise = 0.05 * noise / noise.norm(dim=1, keepdim=True)
    b = net[2].bias.detach()

    def outputs(pixels: Tensor) -> tuple[Tensor, Tensor]:
        return pixels @ w1.T, (pixels @ w1.T).clamp_min(0) @ w2.T + b

    for row, i in ((first, 0), (head, 1)):
        z = outputs(x)[i]
        for found, moved in ((row.attacked, delta), (row.noise, noise)):
            expected = ((outputs(x + moved)[i] - z).norm(dim=1) / z.norm(dim=1)).mean()
            assert found == pytest.approx(float(expected), rel=1e-6)
    assert (first.layer, head.layer) == ("0", "2")
    assert (first.norm, first.epsilon, first.n) == ("l2", 0.05, 40)
    for row in (first, head):
        assert row.attacked_interval95[0] < row.attacked < row.attacked_interval95[1]
        assert row.noise_interval95[0] < row.noise < row.noise_interval95[1]


def test_the_leading_direction_is_amplified_more_than_noise():
    net, w1, _ = _two_layers()
    x, y = _middle(60, 6), torch.zeros(60).long()
    v = torch.linalg.svd(w1).Vh[0]
    first, _ = amplification(net, x, x + 0.1 * v, y, ball("l2", 0.1), seed=0, batch_size=60)
    assert first.attacked_interval95[0] > first.noise_interval95[1]
    sigma = torch.linalg.svdvals(w1)[0]
    expected = 0.1 * sigma * (1 / (x @ w1.T).norm(dim=1)).mean()
    assert first.attacked == pytest.approx(float(expected), rel=1e-6)


def test_the_interval_is_the_bootstrap_of_the_mean():
    net, w1, _ = _two_layers()
    x, y = _middle(400, 6), torch.zeros(400).long()
    delta = 0.05 * torch.nn.functional.normalize(_normal(400, 6, seed=3), dim=1)
    first, _ = amplification(net, x, x + delta, y, ball("l2", 0.05), seed=0, batch_size=400)
    values = (delta @ w1.T).norm(dim=1) / (x @ w1.T).norm(dim=1)
    half = 1.96 * float(values.std()) / 20
    assert first.attacked_interval95 == pytest.approx((first.attacked - half, first.attacked + half), abs=0.15 * half)


def test_samples_left_alone_do_not_count_and_batches_do_not_matter():
    net, _, _ = _two_layers()
    x, y = _middle(30, 6), torch.zeros(30).long()
    x_adv = x + 0.03
    x_adv[::3] = x[::3]
    moved = torch.tensor([i for i in range(30) if i % 3])
    whole = amplification(net, x, x_adv, y, ball("linf", 0.03), seed=0, batch_size=30)
    assert whole[0].n == 20
    parts = amplification(net, x, x_adv, y, ball("linf", 0.03), seed=0, batch_size=4)
    alone = amplification(
        net, x[moved], x_adv[moved], y[moved], ball("linf", 0.03), seed=0, batch_size=9, indices=moved
    )
    for other in (parts, alone):
        for a, b in zip(whole, other, strict=True):
            assert (a.attacked, a.noise) == pytest.approx((b.attacked, b.noise), rel=1e-12)
            assert a.noise_interval95 == pytest.approx(b.noise_interval95, rel=1e-9)
    assert amplification(net, x, x_adv, y, ball("linf", 0.03), seed=1, batch_size=30)[0].noise != whole[0].noise


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_noise_is_as_long_as_the_perturbation_also_at_the_walls(norm):
    x = _normal(50, 12, seed=0).gt(0).double()
    threat = ball(norm, 0.3)
    delta = 0.2 * _normal(50, 12, seed=1)
    noise = like_noise(x, delta, _normal(50, 12, seed=2), ball(norm, 0.3))
    short = threat.length(delta) < 1  # longer than the box is wide, noise is cut
    assert int(short.sum()) > 20 or norm == "l1"
    torch.testing.assert_close(threat.length(noise)[short], threat.length(delta)[short])
    assert float((x + noise).min()) >= 0
    assert float((x + noise).max()) <= 1


def test_layers_that_are_zero_on_some_samples_skip_those():
    net, w1, _ = _two_layers()
    x, y = _middle(20, 6), torch.zeros(20).long()
    x[:5] = 0
    first, head = amplification(net, x, x + 0.01, y, ball("linf", 0.01), seed=0, batch_size=20)
    assert first.n == 15
    assert head.n == 20
    z = x[5:] @ w1.T
    expected = ((0.01 * torch.ones(6).double() @ w1.T).norm() / z.norm(dim=1)).mean()
    assert first.attacked == pytest.approx(float(expected), rel=1e-6)


def test_low_rank_layers_count_whole_and_shared_ones_once():
    net = build(Recipe("mlp", (1, 2, 3), 4, {"widths": [8, 8], "ranks": [2, 0, 0]}))
    assert list(weight_layers(net)) == ["fc1", "fc2", "head"]
    assert isinstance(weight_layers(net)["fc1"], LowRankLinear)
    linear = nn.Linear(4, 4).requires_grad_(False)
    x, y = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(5).long()
    x_adv = (x + 0.1).clamp(0, 1)
    shared = nn.Sequential(linear, nn.ReLU(), linear).eval()
    (row,) = amplification(shared, x, x_adv, y, ball("linf", 0.1), seed=0, batch_size=5)
    first = ((linear(x_adv) - linear(x)).norm(dim=1) / linear(x).norm(dim=1)).mean()
    assert row.attacked == pytest.approx(float(first), rel=1e-4)


def test_convolutions_are_watched_and_the_model_comes_back_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).train()
    before = copy.deepcopy(net.state_dict())
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    rows = amplification(net, x, (x + 0.1).clamp(0, 1), torch.zeros(6).long(), ball("linf", 0.1), seed=0, batch_size=2)
    assert [row.layer for row in rows] == ["0", "4"]
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_progress_counts_samples():
    net, _, _ = _two_layers()
    x, told = _middle(5, 6), []
    amplification(
        net, x, x + 0.1, torch.zeros(5).long(), ball("l2", 1), seed=0, batch_size=2, progress=lambda *a: told.append(a)
    )
    assert told == [("amplification", 2, 5), ("amplification", 4, 5), ("amplification", 5, 5)]


def _refused(error: type[Exception], message: str, **changes: object) -> None:
    net, _, _ = _two_layers()
    x = _middle(5, 6)
    given = {"model": net, "x": x, "x_adv": x + 0.1, "y": torch.zeros(5).long(), "batch_size": 3, **changes}
    with pytest.raises(error, match=message):
        amplification(threat=ball("l2", 0.5), seed=0, **given)  # type: ignore[arg-type]


def test_bad_input_is_refused():
    _refused(UsageError, "batch size must be >= 1, got 0", batch_size=0)
    _refused(DataError, r"expected finite attacked pixels of shape \(5, 6\), got \(4, 6\)", x_adv=_middle(4, 6))
    _refused(DataError, r"expected finite attacked pixels", x_adv=_middle(5, 6) * float("nan"))
    _refused(DataError, "expected attacked pixels, got 5 equal to the clean ones", x_adv=_middle(5, 6))
    _refused(ModelError, "no layer with weights ran", model=nn.Flatten())


def test_broken_layers_are_refused():
    net, _, _ = _two_layers()
    with torch.no_grad():
        net[2].weight[0, 0] = float("nan")
    _refused(ModelError, "layer '2': expected a finite output for each of 3 samples", model=net)
    net[2].weight.data.zero_()
    net[2].bias.data.zero_()
    _refused(ModelError, "layer '2' gives zero for every sample", model=net)
