"""Certificates per sample: the union of what constants and local bounds prove, and its name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from brittle.auditing import certificates
from brittle.auditing.certificates import Certified, certify
from brittle.auditing.run import structure_rows
from brittle.bounds.ladder import lipschitz_constants
from brittle.operators.network import read_network
from brittle.threats import ball
from tests.auditing.made import SHAPE, relu_net, samples

THREATS = (ball("linf", 0.05), ball("l2", 0.2))


def proved(readable: bool = True) -> tuple[dict[str, Certified], NDArray[np.bool_]]:
    """What `certify` finds, and which samples are right."""
    net = relu_net().double()
    x, y = samples(60)
    y[::7] = (y[::7] + 1) % 3  # some labels are wrong
    network = read_network(net, SHAPE)
    constants = lipschitz_constants(network, structure_rows(network, 0.1), ("linf", "l2"), {})
    with torch.no_grad():
        logits = net(x.double())
    graph = network.graph if readable else None
    found = certify(graph, constants, logits, x.double(), y, THREATS, effort="quick", progress=None)
    return found, (logits.argmax(1) == y).numpy()


def test_only_right_samples_are_certified_and_some_are() -> None:
    found, right = proved()
    assert list(found) == ["linf@0.05", "l2@0.2"]
    for row in found.values():
        assert row.mask.any()
        assert not (row.mask.numpy() & ~right).any()


def test_a_small_radius_certifies_all_that_a_large_one_does() -> None:
    net = relu_net().double()
    x, y = samples(60)
    network = read_network(net, SHAPE)
    constants = lipschitz_constants(network, structure_rows(network, 0.1), ("linf",), {})
    with torch.no_grad():
        logits = net(x.double())
    threats = [ball("linf", epsilon) for epsilon in (0.01, 0.05, 0.2)]
    found = certify(network.graph, constants, logits, x.double(), y, threats, effort="quick", progress=None)
    masks = [found[f"linf@{threat.epsilon:g}"].mask.numpy() for threat in threats]
    assert np.all(masks[0] >= masks[1])
    assert np.all(masks[1] >= masks[2])
    assert masks[0].sum() > masks[2].sum()


def test_without_a_graph_the_constants_still_count_and_are_named() -> None:
    for row in proved(readable=False)[0].values():
        assert row.mask.any()
        assert row.by == "global Lipschitz constants of class pairs"


def test_local_bounds_add_to_the_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, both = proved(readable=False)[0], proved()[0]
    monkeypatch.setattr(certificates, "certified_radii", lambda logits, *rest: torch.zeros(len(logits)))
    local = proved()[0]
    for key in alone:
        assert torch.equal(both[key].mask, alone[key].mask | local[key].mask)


def test_where_nothing_is_proved_the_name_says_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "certified_radii", lambda logits, *rest: torch.zeros(len(logits)))
    for row in proved(readable=False)[0].values():
        assert not row.mask.any()
        assert row.by.startswith("none")
