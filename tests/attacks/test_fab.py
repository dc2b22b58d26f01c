"""FAB beside the authors' own implementation, where the optional `pyautoattack` is installed, and its restarts."""

from __future__ import annotations

import pytest
import torch
from tests.small_nets import trained

from brittle.attacks.fab import FAB
from brittle.attacks.fab_targeted import TargetedFAB
from brittle.data.load import load_data

ORDER = {"linf": torch.inf, "l2": 2, "l1": 1}
N = 100


def digits():
    split = load_data("digits").split("test")
    return split.x[:N], split.y[:N]


def radii(attack, norm, **settings):
    x, y = digits()
    return attack(trained(), x, y, norm, indices=torch.arange(N), seed=0, **settings)[1]


@pytest.mark.parametrize(("norm", "reference"), [("linf", "Linf"), ("l2", "L2"), ("l1", "L1")])
@pytest.mark.parametrize(
    ("ours", "targeted"), [(FAB(40), False), (TargetedFAB(40, 3), True)], ids=["untargeted", "targeted"]
)
def test_radii_are_no_larger_than_the_reference_s(norm, reference, ours, targeted):
    oracle = pytest.importorskip("pyautoattack.fab_pt", reason="needs the optional package pyautoattack")
    model, (x, y) = trained(), digits()
    theirs = oracle.FABAttack_PT(
        model, norm=reference, n_iter=40, n_restarts=1, seed=0, device="cpu", targeted=targeted, n_target_classes=3
    )
    # Its targeted form gives up on larger radii than this.
    theirs.eps = {"linf": 1.0, "l2": 8.0, "l1": 64.0}[norm]
    x_adv = theirs.perturb(x, y)
    right, broken = model(x).argmax(1) == y, model(x_adv).argmax(1) != y
    length = torch.linalg.vector_norm((x_adv.double() - x.double()).flatten(1), ord=ORDER[norm], dim=1)
    found = torch.where(broken, length, torch.inf)[right]
    radius = radii(ours, norm)[right]
    assert radius.median() <= 1.02 * found.median()
    assert torch.isfinite(radius).sum() >= torch.isfinite(found).sum()
    assert radius.quantile(0.9, interpolation="lower") <= 1.03 * found.quantile(0.9, interpolation="lower")


def test_more_restarts_only_help():
    once, thrice = radii(FAB(5, classes=3), "l2"), radii(FAB(5, restarts=3, classes=3), "l2")
    assert (thrice <= once).all()  # the first run is the same
    assert (thrice < 0.999 * once).sum() >= 4  # the others are not


def test_restarts_begin_below_the_limit():
    """A start at half the limit finds what lies near; a start far away leads elsewhere."""
    best = radii(FAB(40), "l2")
    wide = radii(FAB(2, restarts=2), "l2", limit=torch.full((N,), 8.0, dtype=torch.float64))
    tight = radii(FAB(2, restarts=2), "l2", limit=best * 1.0001)
    right = best > 0
    assert not torch.equal(wide[right & torch.isfinite(tight)], tight[right & torch.isfinite(tight)])


def test_few_classes_are_nearly_as_good_as_all():
    few, all_classes = radii(FAB(30, classes=3), "linf"), radii(FAB(30), "linf")
    assert few.median() <= 1.02 * all_classes.median()
    one = radii(FAB(30, classes=1), "linf")
    assert one.sum() > few.sum()
