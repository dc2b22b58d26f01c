"""Certificates of single inputs: against attacks on a trained network, and how work is limited and reported."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.attacks.apgd import APGD
from brittle.attacks.pgd import PGD
from brittle.bounds.local import (
    certified_at,
    certified_radii_local,
    correct,
    forecast_work,
    local_certificates,
)
from brittle.data.load import load_data
from brittle.demo.nets import TRAINING
from brittle.errors import ModelError, UsageError
from brittle.evaluation.accuracy import attack_survivors
from brittle.models.recipe import Recipe, build
from brittle.operators.graph import Graph, Node, Opaque, Source
from brittle.operators.network import read_network
from brittle.threats import ball
from brittle.training.loop import fit
from tests.bounds.small_graphs import inputs, mlp, mlp_weights, residual


class Digits:
    """The demo's original network and 200 test inputs, in float64."""

    def __init__(self) -> None:
        data = load_data("digits")
        recipe = Recipe("mlp", data.input_shape, 10, {"width": 100, "depth": 2})
        model = fit(build(recipe, seed=0), data.split("train"), data.split("validation"), TRAINING, seed=0)
        test = data.split("test").take(200, 0)
        graph = read_network(model, data.input_shape).graph
        assert graph is not None
        self.graph: Graph = graph
        self.model: nn.Module = model.double().eval()
        self.x: Tensor = test.x.double()
        self.y: Tensor = test.y


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


def test_certified_accuracy_is_close_to_attacked_accuracy(digits: Digits) -> None:
    threat = ball("linf", 0.03)
    certified = certified_at(digits.graph, digits.x, digits.y, threat)
    done = attack_survivors(digits.model, digits.x, digits.y, threat, [PGD(steps=40)], batch_size=200, seed=0)
    attacked = float(done.survived.double().mean())
    assert attacked - 0.03 <= float(certified.double().mean()) <= attacked
    better = certified_at(digits.graph, digits.x[:60], digits.y[:60], threat, alpha_steps=10)
    assert bool((better >= certified[:60]).all())


def test_no_attack_breaks_a_certificate(digits: Digits) -> None:
    """About three thousand certified pairs of input and radius, from tiny radii to where certificates end."""
    pairs = 0
    radii = {
        "linf": (0.003, 0.01, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06),
        "l2": (0.02, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5),
    }
    for norm, values in radii.items():
        found = local_certificates(digits.graph, digits.x, digits.y, [ball(norm, e) for e in values])
        for epsilon, certificate in zip(values, found.values(), strict=True):
            inside = certificate.certified
            pairs += int(inside.sum())
            if not inside.any():
                continue
            done = attack_survivors(
                digits.model,
                digits.x[inside],
                digits.y[inside],
                ball(norm, epsilon),
                [PGD(steps=10), APGD(steps=20)],
                batch_size=200,
                seed=1,
            )
            assert bool(done.survived.all()), f"{norm} {epsilon}"
    assert pairs > 2000


@pytest.mark.parametrize(("norm", "largest"), [("linf", 0.1), ("l2", 0.8)])
def test_radii_are_certified_themselves_and_tight(digits: Digits, norm: str, largest: float) -> None:
    x, y = digits.x[:25], digits.y[:25]
    radii = certified_radii_local(digits.graph, x, y, norm, largest, steps=8)
    right = correct(digits.graph, x, y)
    assert bool((radii[~right] == 0).all())
    assert float(radii.max()) <= largest
    for i in torch.arange(25)[radii > 0].tolist():
        assert bool(certified_at(digits.graph, x[i : i + 1], y[i : i + 1], ball(norm, float(radii[i]))))
    once_more = radii + 2 * largest / 2**8
    failed = [
        not bool(certified_at(digits.graph, x[i : i + 1], y[i : i + 1], ball(norm, float(once_more[i]))))
        for i in range(25)
    ]
    assert sum(failed) >= 24 - int((radii == largest).sum())  # bounds need not be monotone, but nearly are


def test_a_linear_classifier_has_the_closed_form_radius() -> None:
    weights = mlp_weights(1, (6, 4))
    graph, (w, b) = mlp(weights), weights[0]
    x = torch.full((1, 6), 0.5, dtype=torch.float64)
    z = x @ w.T + b
    y = z.argmax(1)
    other = [j for j in range(4) if j != int(y)]
    for norm, order in (("linf", 1), ("l2", 2)):
        exact = min(float(z[0, y] - z[0, j]) / float((w[y] - w[j]).norm(p=order)) for j in other)
        assert exact < 0.5  # inside the pixel box
        radius = float(certified_radii_local(graph, x, y, norm, 1.0, steps=30)[0])
        assert exact - 3e-9 <= radius <= exact


def test_answers_do_not_depend_on_the_batch_size(digits: Digits) -> None:
    threats = [ball("l2", 0.2), ball("linf", 0.03)]
    seen: list[tuple[str, int, int]] = []
    x, y = digits.x[:40], digits.y[:40]
    one = local_certificates(digits.graph, x, y, threats, batch_size=7, progress=lambda *told: seen.append(told))
    two = local_certificates(digits.graph, x, y, threats, batch_size=40)
    assert list(one) == list(two)
    assert set(one) == {"l2@0.2", "linf@0.03"}
    for key in one:
        assert torch.equal(one[key].certified, two[key].certified)
        assert one[key].method == "CROWN"
    assert ("certificates l2@0.2", 7, int(correct(digits.graph, x, y).sum())) in seen


def test_slack_asks_for_larger_margins(digits: Digits) -> None:
    x, y, threat = digits.x[:60], digits.y[:60], ball("linf", 0.03)
    plain = certified_at(digits.graph, x, y, threat)
    strict = certified_at(digits.graph, x, y, threat, slack=0.2)
    assert bool((plain >= strict).all())
    assert int(plain.sum()) > int(strict.sum())
    assert not bool(certified_at(digits.graph, x, y, threat, slack=1e9).any())


def test_a_small_work_limit_leaves_layers_to_intervals_or_skips(digits: Digits) -> None:
    x, y, threats = digits.x[:20], digits.y[:20], [ball("linf", 0.02)]
    whole = local_certificates(digits.graph, x, y, threats)["linf@0.02"]
    work = forecast_work(digits.graph, 20, 1)
    part = local_certificates(digits.graph, x, y, threats, work_limit=0.9 * work)["linf@0.02"]
    assert part.method.startswith("CROWN, interval bounds from ")
    assert bool((whole.certified >= part.certified).all())
    none = local_certificates(digits.graph, x, y, threats, work_limit=10.0)["linf@0.02"]
    assert none.method == "none"
    assert "multiply-adds, over the limit of 1.0e+01" in none.why
    assert not none.certified.any()
    assert forecast_work(digits.graph, 20, 1, work_limit=10.0) == float("inf")


def test_a_network_that_was_not_read_gets_the_reason() -> None:
    odd = Graph((Node("input", Source(), (), (4,)), Node("odd", Opaque("it is odd"), (0,), (3,))))
    x, y, threat = torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64), ball("linf", 0.1)
    assert local_certificates(odd, x, y, [threat])["linf@0.1"].why == "it is odd"
    assert local_certificates(None, x, y, [threat])["linf@0.1"].why == "the network could not be traced"
    with pytest.raises(ModelError, match="it is odd"):
        certified_at(odd, x, y, threat)
    with pytest.raises(ModelError, match="it is odd"):
        certified_radii_local(odd, x, y, "linf", 0.1)


def test_refusals() -> None:
    graph = residual(0)
    x, y, threat = inputs(graph, 0), torch.tensor([0, 1, 2]), ball("linf", 0.1)
    with pytest.raises(UsageError, match="expected 3 labels"):
        local_certificates(graph, x, y + 1, [threat])
    with pytest.raises(UsageError, match="work limit >= 0"):
        local_certificates(graph, x, y, [threat], work_limit=-1.0)
    with pytest.raises(UsageError, match="batch size >= 1 and a slack >= 0"):
        certified_at(graph, x, y, threat, batch_size=0)
    with pytest.raises(UsageError, match="batch size >= 1 and a slack >= 0"):
        certified_at(graph, x, y, threat, slack=float("nan"))
    with pytest.raises(UsageError, match="radius > 0 and steps >= 1"):
        certified_radii_local(graph, x, y, "linf", 0.0)
    with pytest.raises(UsageError, match="radius > 0 and steps >= 1"):
        certified_radii_local(graph, x, y, "linf", 0.1, steps=0)
    with pytest.raises(UsageError, match="unknown norm 'l3'"):
        certified_radii_local(graph, x, graph.evaluate(x)[-1].argmax(1), "l3", 0.1)
