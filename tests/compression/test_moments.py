"""Input moments: against rows gathered another way, whatever the batches; the model comes back as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.compression.factorise import factorise
from brittle.compression.moments import InputMoment, input_moments
from brittle.compression.unfoldings import UNFOLDINGS, Unfolding
from brittle.errors import DataError, ModelError, UsageError
from brittle.models.recipe import Recipe, build
from tests.compression.low_rank_cases import CONVOLUTIONS, dense, normal


def patches(conv: nn.Conv2d, x: Tensor) -> np.ndarray:
    """Rows (m, d) read by a convolution whose filters each pick one entry of the window."""
    d = conv.weight[0].numel()
    reader = nn.Conv2d(
        conv.in_channels,
        d,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        bias=False,
        padding_mode=conv.padding_mode,
        dtype=torch.float64,
    )
    reader.weight.data = torch.eye(d, dtype=torch.float64).view(d, *conv.weight.shape[1:])
    return reader(x).movedim(1, -1).reshape(-1, d).detach().numpy()


def agrees(moment: InputMoment, rows: np.ndarray) -> None:
    assert moment.rows == len(rows)
    np.testing.assert_allclose(moment.second, rows.T @ rows / len(rows), atol=1e-12)
    np.testing.assert_allclose(moment.mean, rows.mean(0), atol=1e-12)
    np.testing.assert_allclose(moment.covariance(), np.cov(rows.T, bias=True).reshape(moment.second.shape), atol=1e-12)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_patches_of_a_convolution(name: str) -> None:
    conv, shape = CONVOLUTIONS[name]
    x = normal(5, *shape, seed=1)
    agrees(input_moments(nn.Sequential(conv), ["0"], x, batch_size=2)["0"], patches(conv, x))


@pytest.mark.parametrize("unfolding", UNFOLDINGS.values(), ids=UNFOLDINGS)
def test_a_pair_receives_what_the_dense_layer_did(unfolding: Unfolding) -> None:
    conv, shape = CONVOLUTIONS["strided, no bias"]
    x = normal(5, *shape, seed=1)
    child = factorise(nn.Sequential(conv), {"0": 1}, unfoldings={"0": unfolding})
    agrees(input_moments(child, ["0"], x, batch_size=5)["0"], patches(conv, x))


def test_hidden_layers_and_tokens() -> None:
    model = nn.Sequential(dense(6, 5), nn.Tanh(), dense(5, 4))
    x = normal(7, 3, 6, seed=2)
    moments = input_moments(model, ["0", "2"], x, batch_size=3)
    agrees(moments["0"], x.reshape(-1, 6).numpy())
    agrees(moments["2"], model[:2](x).reshape(-1, 5).detach().numpy())


def test_images_given_to_a_flattening_net() -> None:
    model = build(Recipe("mlp", (1, 4, 4), 5, {"width": 12})).double()
    x = normal(6, 1, 4, 4, seed=3)
    agrees(input_moments(model, ["fc1"], x, batch_size=4)["fc1"], x.flatten(1).numpy())


def test_a_layer_that_is_called_twice_counts_both_times() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = dense(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(input=self.layer(x))

    model, x = Twice(), normal(5, 4, seed=4)
    both = torch.cat([x, model.layer(x)]).detach().numpy()
    agrees(input_moments(model, ["layer"], x, batch_size=5)["layer"], both)


@pytest.mark.parametrize("name", ["more filters", "tokens"])
def test_drawn_positions_do_not_depend_on_batches_and_miss_nothing_on_average(name: str) -> None:
    if name == "tokens":
        model, x = nn.Sequential(dense(3, 2)), normal(6, 4, 5, 3, seed=5)
        every, places = x.reshape(-1, 3).numpy(), 20
    else:
        conv, shape = CONVOLUTIONS[name]
        model, x = nn.Sequential(conv), normal(6, *shape, seed=5)
        every, places = patches(conv, x), 30

    def few(batch: int, positions: int, seed: int) -> InputMoment:
        return input_moments(model, ["0"], x, batch_size=batch, positions=positions, seed=seed)["0"]

    one = few(1, 7, 0)
    assert one.rows == 6 * 7
    assert torch.allclose(one.second, few(4, 7, 0).second, atol=1e-12)
    assert not torch.allclose(one.second, few(4, 7, 1).second, atol=1e-3)
    agrees(few(6, places, 0), every)
    # Without replacement: the rows left out by all but one place are that place's
    means = [few(6, places - 1, seed).second for seed in range(60)]
    full = torch.from_numpy(every.T @ every / len(every))
    assert float((torch.stack(means).mean(0) - full).abs().max()) < 0.1 * float(full.abs().max())
    assert max(float((mean - full).abs().max()) for mean in means) < 0.3 * float(full.abs().max())


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(dense(4, 4), nn.BatchNorm1d(4).double(), nn.Dropout(0.5), dense(4, 3)).train()
    model[0].weight.requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first = input_moments(model, ["3"], normal(5, 4, seed=6), batch_size=2)["3"]
    assert torch.equal(first.second, input_moments(model, ["3"], normal(5, 4, seed=6), batch_size=2)["3"].second)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == [False, *[True] * 5]
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_hooks_go_after_an_error_too() -> None:
    model = nn.Sequential(dense(4, 4))
    with pytest.raises(RuntimeError):
        input_moments(model, ["0"], normal(5, 3, seed=0), batch_size=5)
    assert not model[0]._forward_pre_hooks


def test_refusals() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle, self.grouped = dense(4, 4), dense(4, 4), nn.Conv2d(2, 2, 1, groups=2)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.used(x))

    model, x = Idle(), normal(5, 4, seed=0)
    with pytest.raises(UsageError, match="batch size and positions must be at least 1, got 0 and 64"):
        input_moments(model, ["used"], x, batch_size=0)
    with pytest.raises(UsageError, match="got 1 and 0"):
        input_moments(model, ["used"], x, batch_size=1, positions=0)
    for bad in (x[:0], x * torch.nan, x[0], x.long()):
        with pytest.raises(DataError, match=r"moments need finite pixels of shape \(n, ...\) with n >= 1, got"):
            input_moments(model, ["used"], bad, batch_size=1)
    with pytest.raises(ModelError, match="no moments for layer 'other': expected one of used, idle"):
        input_moments(model, ["other"], x, batch_size=1)
    with pytest.raises(ModelError, match="no moments for layer 'grouped': a convolution with 2 groups"):
        input_moments(model, ["grouped"], x, batch_size=1)
    with pytest.raises(ModelError, match="layer 'idle' is never called on these inputs"):
        input_moments(model, ["idle"], x, batch_size=1)
    deep = nn.Sequential(dense(4, 4), dense(4, 4))
    deep[0].weight.data.fill_(torch.inf)
    with pytest.raises(ModelError, match="layer '1' receives NaN or infinity"):
        input_moments(deep, ["1"], x, batch_size=1)
