"""Radius curves: consistent with certificates below and with attacks at fixed radii above."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

import pytest
import torch
from tests.small_nets import trained
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.attacks.deepfool import DeepFool
from brittle.attacks.targeted import TargetedAPGD
from brittle.bounds.local import certified_at
from brittle.data.load import load_data
from brittle.errors import DataError, UsageError
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.radii import RADIUS_ATTACKS, radius_curve, robust_accuracy_at, smallest_perturbations
from brittle.operators.network import read_network
from brittle.results.perturbations import RadiusCurve
from brittle.threats import ball

N = 60
RADII = {"linf": (0.03, 0.07, 0.12), "l2": (0.2, 0.4, 0.8), "l1": (0.5, 1.0, 2.0)}


def digits():
    split = load_data("digits").split("test")
    return split.x[:N], split.y[:N]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_curve_lies_on_fixed_radius_attacks_and_above_certificates(norm):
    model, (x, y) = trained(), digits()
    curve = radius_curve(model, x, y, norm, batch_size=30, seed=0)
    assert robust_accuracy_at(curve, 0.0) == float(clean_right(model, x, y, 30)[0].double().mean())
    assert curve.attack == ", ".join(attack.name for attack in RADIUS_ATTACKS)
    for epsilon in RADII[norm]:
        threat = ball(norm, epsilon)
        left = attack_survivors(model, x, y, threat, (APGD(50), TargetedAPGD(30, 5)), batch_size=30, seed=0)
        apgd, targeted = (step.accuracy for step in left.steps)
        assert 0.02 < apgd < 0.98
        assert targeted - 0.02 <= robust_accuracy_at(curve, epsilon) <= apgd + 0.01
    if norm == "l1":
        return  # no certificates
    graph = read_network(model, (1, 8, 8)).graph
    assert graph is not None
    radii = torch.tensor([torch.inf if radius is None else radius for radius in curve.radii])
    for share in (0.3, 0.6, 0.9, 0.97, 1.0):
        certified = certified_at(graph, x, y, ball(norm, share * RADII[norm][0]), slack=1e-5)
        assert (radii > share * RADII[norm][0])[certified].all()
        assert certified.double().mean() <= robust_accuracy_at(curve, share * RADII[norm][0])
    assert certified.any()


@dataclass(frozen=True)
class Adds:
    """Adds `shift` to every pixel of a one-pixel sample, if it breaks it, and claims `claim` times the distance."""

    name: str
    shift: float
    claim: float = 1.0
    limits: list[list[float]] = field(default_factory=list)
    calls: list[list[int]] = field(default_factory=list)
    cost: int = 0

    def __call__(self, model, x, y, norm, *, indices, seed, limit=None):
        self.limits.append(limit.tolist())
        self.calls.append(indices.tolist())
        x_adv = x + self.shift
        broken = model(x_adv).argmax(1) != y
        length = self.claim * (x_adv.double() - x.double()).abs()[:, 0]
        return torch.where(broken[:, None], x_adv, x), torch.where(broken, length, torch.inf)


class Threshold(nn.Module):
    """Class 1 above one half."""

    def forward(self, x):
        return torch.cat([0.5 - x, x - 0.5], dim=1)


def line():
    """Samples at 0, 0.1, ..., 0.9 with their true classes, except for one."""
    x = torch.arange(10, dtype=torch.float64)[:, None] / 10 + 1e-3
    y = (x[:, 0] > 0.5).long()
    y[9] = 0
    return x, y


def test_the_smallest_of_all_attacks_is_kept_and_each_is_told_what_is_known():
    x, y = line()
    far, near, worse = Adds("far", 0.45), Adds("near", 0.25), Adds("worse", 0.47)
    found = smallest_perturbations(Threshold(), x, y, "l2", (far, near, worse), batch_size=4, seed=0)
    inf = float("inf")
    expected = [inf, 0.45, 0.45, 0.25, 0.25, inf, inf, inf, inf, 0.0]
    # The boundary is at 0.5: 0.301 + 0.25 and 0.101 + 0.45 are past it. Sample 5 is already.
    assert found.radius.tolist() == pytest.approx(expected, abs=1e-9)
    assert found.attacks == ("far", "near", "worse")
    assert far.calls == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]  # the misclassified one is nobody's business
    assert near.limits[0] == pytest.approx([inf, 0.45, 0.45, 0.45])
    assert worse.limits[0] == pytest.approx([inf, 0.45, 0.45, 0.25])
    broken = torch.isfinite(found.radius) & (found.radius > 0)
    assert torch.allclose((found.x_adv - x)[:, 0][broken], found.radius[broken])
    assert torch.equal(found.x_adv[~broken], x[~broken])


def test_quantiles_are_those_of_the_samples_that_were_right():
    x, y = line()
    curve = radius_curve(Threshold(), x, y, "l2", (Adds("far", 0.45), Adds("near", 0.25)), batch_size=4, seed=0)
    # Nine were right; sorted radii 0.25, 0.25, 0.45, 0.45 and five infinite ones.
    assert curve.n == 10
    assert curve.quantiles["0.1"] == pytest.approx(0.25)
    assert curve.quantiles["0.25"] == pytest.approx(0.45)  # the third of nine
    assert [curve.quantiles[share] for share in ("0.5", "0.75", "0.9")] == [None] * 3
    assert (curve.radii[0], curve.radii[9]) == (None, 0.0)
    nobody = radius_curve(Threshold(), x, 1 - (x[:, 0] > 0.5).long(), "l2", (Adds("far", 0.45),), batch_size=4, seed=0)
    assert set(nobody.quantiles.values()) == {None}
    assert set(nobody.radii) == {0.0}


def test_accuracy_at_a_radius_counts_what_lies_beyond_it():
    curve = RadiusCurve("l2", "any", 4, (0.0, 0.5, None, 1.5), {})
    at = [robust_accuracy_at(curve, epsilon) for epsilon in (0.0, 0.49, 0.5, 1.5, float("inf"))]
    assert at == [0.75, 0.75, 0.5, 0.25, 0.25]
    for epsilon in (-0.1, float("nan")):
        with pytest.raises(UsageError, match="a radius is a number >= 0"):
            robust_accuracy_at(curve, epsilon)
    with pytest.raises(UsageError, match="at least one sample, got none"):
        robust_accuracy_at(RadiusCurve("l2", "any", 0, (), {}), 0.1)


def test_the_batch_size_changes_nothing_and_indices_carry_the_random_numbers():
    model, (x, y) = trained().double(), digits()
    x, y = x[:20].double(), y[:20]
    whole = smallest_perturbations(model, x, y, "l2", batch_size=30, seed=0).radius
    parts = smallest_perturbations(model, x, y, "l2", batch_size=7, seed=0).radius
    assert torch.allclose(whole, parts, rtol=1e-6)
    some = smallest_perturbations(
        model, x[10:20], y[10:20], "l2", batch_size=4, seed=0, indices=torch.arange(10, 20)
    ).radius
    assert torch.allclose(whole[10:20], some, rtol=1e-6)


def test_a_deadline_stops_between_batches_and_says_so():
    x, y = line()
    told = []
    attacks = (Adds("far", 0.45), Adds("near", 0.25))
    past = smallest_perturbations(Threshold(), x, y, "l2", attacks, batch_size=4, seed=0, deadline=monotonic() - 1)
    assert past.attacks == ("far (stopped)",)
    assert torch.isinf(past.radius[:9]).all()
    curve = radius_curve(
        Threshold(), x, y, "l2", attacks, batch_size=4, seed=0, progress=lambda *done: told.append(done)
    )
    assert curve.attack == "far, near"
    assert told == [(name, done, 9) for name in ("far", "near") for done in (4, 8, 9)]


def test_attacks_that_misstate_their_radius_or_leave_the_box_are_refused():
    x, y = line()
    for bad in (Adds("short", 0.3, claim=0.9), Adds("outside", 0.999)):
        with pytest.raises(UsageError, match=f"attack {bad.name} must return pixels in"):
            smallest_perturbations(Threshold(), x, y, "l2", (bad,), batch_size=10, seed=0)


def test_bad_input_is_refused():
    x, y = line()
    run = {"batch_size": 4, "seed": 0}
    with pytest.raises(UsageError, match="at least one minimal attack, got none"):
        radius_curve(Threshold(), x, y, "l2", (), **run)
    with pytest.raises(UsageError, match="know the norms linf, l2, l1, got 'l3'"):
        radius_curve(Threshold(), x, y, "l3", **run)
    with pytest.raises(UsageError, match="batch size must be >= 1"):
        radius_curve(Threshold(), x, y, "l2", batch_size=0, seed=0)
    with pytest.raises(DataError, match=r"pixels in \[0, 1\]"):
        radius_curve(Threshold(), x + 1, y, "l2", **run)


def test_the_model_comes_back_as_it_was():
    model, (x, y) = trained().train(), digits()
    smallest_perturbations(model, x[:5], y[:5], "l2", (DeepFool(),), batch_size=5, seed=0)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
