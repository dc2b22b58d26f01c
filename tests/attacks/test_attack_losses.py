from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from brittle.attacks.losses import LOSSES, cross_entropy, dlr, margin, targeted_dlr
from brittle.attacks.settings import attack_name, check_counts, check_loss
from brittle.errors import UsageError

# Hundredths: scores that differ at all differ by more than rounding.
score = st.integers(-5000, 5000).map(lambda hundredths: hundredths / 100)


@st.composite
def scored(draw, least=2):
    c = draw(st.integers(least, 7))
    z = draw(st.lists(score, min_size=c, max_size=c, unique=True))
    return np.array(z, dtype=np.float64), draw(st.integers(0, c - 1))


def batch(z, *labels):
    return torch.from_numpy(z)[None], *(torch.tensor([label]) for label in labels)


@given(scored())
def test_cross_entropy_is_minus_the_log_softmax(case):
    z, y = case
    assert cross_entropy(*batch(z, y)).item() == pytest.approx(logsumexp(z) - z[y], abs=1e-9)


@given(scored())
def test_margin_is_the_best_other_score_minus_the_label_s(case):
    z, y = case
    assert margin(*batch(z, y)).item() == pytest.approx(np.delete(z, y).max() - z[y])


@given(scored(3))
def test_dlr_is_the_formula_of_the_paper(case):
    z, y = case
    ordered = np.sort(z)[::-1]
    assert dlr(*batch(z, y)).item() == pytest.approx(
        (np.delete(z, y).max() - z[y]) / (ordered[0] - ordered[2]), rel=1e-6
    )


@given(scored(3), st.floats(0.1, 100), st.floats(-100, 100))
def test_dlr_does_not_feel_scale_and_shift(case, scale, shift):
    z, y = case
    z = np.round(z)  # scores that differ enough for the rounding of the shift
    if len(set(z)) == len(z):
        assert dlr(*batch(scale * z + shift, y)).item() == pytest.approx(dlr(*batch(z, y)).item(), rel=1e-6)


@given(scored(4), st.data())
def test_targeted_dlr_is_the_formula_of_the_paper(case, data):
    z, y = case
    t = data.draw(st.sampled_from([k for k in range(len(z)) if k != y]))
    ordered = np.sort(z)[::-1]
    expected = (z[t] - z[y]) / (ordered[0] - (ordered[2] + ordered[3]) / 2)
    assert targeted_dlr(*batch(z, y, t)).item() == pytest.approx(expected, rel=1e-6)


def test_too_few_classes_fall_back_to_differences():
    assert dlr(*batch(np.array([3.0, 1.0]), 0)).item() == -2.0
    assert targeted_dlr(*batch(np.array([3.0, 1.0, -4.0]), 0, 2)).item() == -7.0


def test_equal_logits_stay_finite_with_finite_gradients():
    logits = torch.zeros(1, 5, requires_grad=True)
    values = dlr(logits, torch.tensor([0])) + targeted_dlr(logits, torch.tensor([0]), torch.tensor([1]))
    values.sum().backward()
    assert values.item() == 0.0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_per_sample(name):
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 2, 3, 4, 0])
    alone = torch.cat([LOSSES[name](logits[i : i + 1], y[i : i + 1]) for i in range(6)])
    assert torch.allclose(LOSSES[name](logits, y), alone)


def test_bad_settings_are_refused():
    with pytest.raises(UsageError, match=r"unknown attack loss 'l1': expected one of ce, margin, dlr"):
        check_loss("l1")
    with pytest.raises(UsageError, match="got steps=0, restarts=1"):
        check_counts(0, 1)
    with pytest.raises(UsageError, match="got steps=5, restarts=0"):
        check_counts(5, 0)
    check_loss("ce")
    check_counts(1, 1)


def test_names_tell_loss_steps_and_restarts():
    assert attack_name("pgd", "margin", 20, 1) == "pgd-margin-20"
    assert attack_name("apgd", "ce", 100, 2) == "apgd-ce-100x2"
