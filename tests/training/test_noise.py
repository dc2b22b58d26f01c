"""Random numbers of a run: streams, noisy labels, alpha-stable numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from brittle.errors import UsageError
from brittle.training.noise import add_noise, alpha_stable, noisy_labels, stream


def test_streams_repeat_and_differ() -> None:
    first = torch.rand(4, generator=stream(1, "labels"))
    assert torch.equal(first, torch.rand(4, generator=stream(1, "labels")))
    assert not torch.equal(first, torch.rand(4, generator=stream(2, "labels")))
    assert not torch.equal(first, torch.rand(4, generator=stream(1, "gradients")))


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 0.99), n=st.integers(2, 60), seed=st.integers(0, 99))
def test_exactly_the_share_of_labels_becomes_another_class(share: float, n: int, seed: int) -> None:
    y = torch.tensor([2, 5, 9])[torch.arange(n) % 3]
    noisy = noisy_labels(y, share, stream(seed, "labels"))
    assert int((noisy != y).sum()) == round(share * n)
    assert set(noisy.tolist()) <= set(y.tolist())


def test_the_other_classes_are_equally_likely() -> None:
    y = torch.zeros(6000, dtype=torch.int64)
    y[:10] = torch.arange(10)
    noisy = noisy_labels(y, 0.9, stream(0, "labels"))
    counts = torch.bincount(noisy[10:][noisy[10:] != 0], minlength=10)[1:]
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_label_noise_out_of_range_is_refused() -> None:
    y = torch.tensor([0, 1])
    with pytest.raises(UsageError, match=r"share of the labels in \[0, 1\), got 1.0"):
        noisy_labels(y, 1.0, stream(0, "labels"))
    with pytest.raises(UsageError, match="needs at least 2 classes in the training split, got 1"):
        noisy_labels(torch.zeros(10, dtype=torch.int64), 0.5, stream(0, "labels"))


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.5, 2.0])
def test_alpha_stable_numbers_have_their_characteristic_function(alpha: float) -> None:
    x = alpha_stable((200_000,), alpha, stream(3, "gradients"))
    t = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
    found = (t[:, None] * x).cos().mean(1)
    torch.testing.assert_close(found, (-(t**alpha)).exp(), rtol=0, atol=0.01)
    assert float((t[:, None] * x).sin().mean(1).abs().max()) < 0.01


def test_the_tails_are_those_of_the_named_laws() -> None:
    gauss, cauchy = (alpha_stable((20_000,), alpha, stream(1, "x")).numpy() for alpha in (2.0, 1.0))
    assert stats.kstest(gauss, stats.norm(scale=2**0.5).cdf).pvalue > 1e-3
    assert stats.kstest(cauchy, stats.cauchy.cdf).pvalue > 1e-3


def test_gradients_get_the_scaled_numbers_in_place() -> None:
    gradients = [torch.ones(3, 2), torch.zeros(4)]
    add_noise(gradients, 1.5, 0.1, stream(0, "g"))
    generator = stream(0, "g")
    for start, noisy in zip((1.0, 0.0), gradients, strict=True):
        expected = start + (0.1 * alpha_stable(noisy.shape, 1.5, generator)).float()
        torch.testing.assert_close(noisy, expected)


@pytest.mark.parametrize("alpha", [0.0, 2.1, float("nan")])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(UsageError, match=r"alpha of heavy-tailed noise must lie in \(0, 2\], got"):
        alpha_stable((2,), alpha, stream(0, "g"))
