"""DeepFool beside a plain reading of its paper, and its place among minimal attacks."""

from __future__ import annotations

import pytest
import torch
from tests.small_nets import trained

from brittle.attacks.deepfool import DeepFool
from brittle.attacks.fab import FAB
from brittle.data.load import load_data


def paper(model, x, label, norm, overshoot=0.02, steps=50):
    """Algorithm 2 of Moosavi-Dezfooli et al. (2016) for one sample, without a box: the length of its perturbation."""
    jacobian = torch.func.jacrev(lambda point: model(point[None])[0])
    total, point = torch.zeros_like(x), x
    for _ in range(steps):
        logits = model(point[None])[0].detach()
        if int(logits.argmax()) != label:
            break
        rows = jacobian(point).detach()
        best = None
        for k in range(len(logits)):
            if k == label:
                continue
            w, f = (rows[k] - rows[label]).flatten(), float(logits[k] - logits[label])
            if norm == "l2":
                far, step = abs(f) / float(w.norm()), abs(f) / float(w.norm()) ** 2 * w
            else:
                far, step = abs(f) / float(w.abs().sum()), abs(f) / float(w.abs().sum()) * w.sign()
            if best is None or far < best[0]:
                best = (far, step)
        total = total + best[1].view_as(x)
        point = x + (1 + overshoot) * total
    delta = ((1 + overshoot) * total).flatten()
    return float(delta.norm() if norm == "l2" else delta.abs().max())


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_radii_are_those_of_the_paper_s_algorithm(norm):
    """Inside the box both walk the same way; ours then takes the overshoot back."""
    model = trained().double()
    split = load_data("digits").split("test")
    x = 0.3 + 0.4 * split.x[:60].double()  # away from the faces
    y = model(x).argmax(1)
    _, radius = DeepFool()(model, x, y, norm, indices=torch.arange(60), seed=0)
    theirs = torch.tensor([paper(model, x[i], int(y[i]), norm) for i in range(60)], dtype=torch.float64)
    near = theirs < (0.25 if norm == "linf" else 0.6)
    assert near.sum() > 30
    ratio = radius[near] / theirs[near]
    assert ratio.max() < 1.0
    assert ratio.median() > 0.9


def test_it_takes_few_steps_and_fab_goes_closer():
    model, split = trained(), load_data("digits").split("test")
    x, y = split.x[:150], split.y[:150]
    run = {"indices": torch.arange(150), "seed": 0}
    _, few = DeepFool(8)(model, x, y, "l2", **run)
    _, quick = DeepFool()(model, x, y, "l2", **run)
    _, slow = FAB(40)(model, x, y, "l2", **run)
    assert torch.isfinite(few).double().mean() > 0.95
    assert torch.isfinite(quick).all()
    assert slow.sum() < 0.995 * quick.sum()
    assert (slow <= quick * 1.001).double().mean() > 0.9
