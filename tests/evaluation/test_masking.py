from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.attacks.losses import dlr
from brittle.errors import ModelError
from brittle.evaluation.masking import masking_checks, zero_gradient_share
from brittle.threats import ball

N = 80


def data():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 10, generator=generator)
    x = torch.rand(N, 10, generator=generator)
    return weight, x, ((x - 0.5) @ weight.T).argmax(1)


class Smooth(nn.Module):
    """A linear classifier: its gradients say all there is to say."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(data()[0])

    def forward(self, x):
        return self.scale * (x - 0.5) @ self.weight.T


class Rounded(Smooth):
    """Pixels rounded to nine levels: gradients are zero almost everywhere."""

    def forward(self, x):
        return super().forward((x * 8).round() / 8)


class Misleading(Smooth):
    """The forward pass of `Smooth`, gradients that point the wrong way."""

    def forward(self, x):
        return super().forward(2 * x.detach() - x)


class Ripples(Smooth):
    """Fine ripples on the pixels: the gradient at x is right for one small step only."""

    def forward(self, x):
        return super().forward(x + 0.02 * torch.sin(200 * x))


def verdicts(model, epsilon=0.1):
    _, x, y = data()
    y = model(x).argmax(1)
    checks = masking_checks(model, x, y, ball("linf", epsilon), batch_size=32, seed=0)
    return {check.check: check for check in checks}


def test_an_honest_model_shows_no_sign():
    assert [check.verdict for check in verdicts(Smooth()).values()] == ["ok"] * 4


def test_zero_gradients_and_their_consequences_are_found():
    found = verdicts(Rounded(), epsilon=0.15)
    assert found["gradients are not zero"].verdict == "warning"
    assert "100.0% of 80 samples" in found["gradients are not zero"].advice
    assert found["a huge radius breaks everything"].verdict == "warning"


def test_an_attack_weaker_than_noise_is_found():
    found = verdicts(Misleading())
    assert found["gradients are not zero"].verdict == "ok"
    assert found["the attack beats random noise"].verdict == "warning"
    assert found["a huge radius breaks everything"].verdict == "warning"
    assert "sign of masked gradients" in found["the attack beats random noise"].advice


def test_a_step_that_beats_many_is_found():
    class Mirror(Smooth):
        """Right gradients at the samples themselves, wrong ones elsewhere."""

        def forward(self, x):
            here = (self.known[None] - x.detach()[:, None]).abs().amax(2).amin(1, keepdim=True) == 0
            return super().forward(torch.where(here, x, 2 * x.detach() - x))

    model = Mirror()
    model.known = data()[1]
    assert verdicts(model)["many steps beat one"].verdict == "warning"


def test_share_of_zero_gradients_is_exact():
    _, x, y = data()

    class Half(Smooth):
        def forward(self, x):
            z = super().forward(x)
            return torch.where(x[:, :1] > 0.5, z, z.detach())

    assert zero_gradient_share(Half(), x, y, 16) == pytest.approx(float((x[:, 0] <= 0.5).double().mean()))
    assert zero_gradient_share(Smooth(), x, y, 16) == 0.0
    # Saturated cross-entropy is a zero gradient too, though the classifier is linear (the DLR loss still sees it).
    assert zero_gradient_share(Smooth(1e5), x, y, 16) > 0.9
    assert (dlr(Smooth()(x), y) - dlr(Smooth(1e5)(x), y)).abs().max() < 1e-3


def test_a_model_without_gradients_is_refused():
    class Detached(Smooth):
        def forward(self, x):
            return super().forward(x.detach()).detach()

    _, x, y = data()
    with pytest.raises(ModelError, match="without a graph"):
        masking_checks(Detached(), x, y, ball("l2", 0.1), batch_size=32, seed=0)
