"""One look for each net; the base is recognised, or known only through its comparisons."""

from __future__ import annotations

from dataclasses import replace

from brittle.report.nets import base_of, children, nets, norms, threats
from tests.made_audits import RADII, made_audit, made_audits, made_children


def test_base_first_then_children_in_order() -> None:
    shown = nets((*made_children(), made_audit("original")))
    assert [net.name for net in shown] == ["original", "low-rank", "neuron-pruned", "narrow"]
    assert [net.is_base for net in shown] == [True, False, False, False]
    assert shown[0].audit is made_audit("original")


def test_a_base_that_was_not_given_is_still_a_net() -> None:
    shown = nets(made_children())
    assert shown[0].name == "original"
    assert shown[0].audit is None
    assert base_of(shown[1], shown) == shown[0]
    assert len(children(shown)) == 3


def test_every_net_has_its_own_colour_sign_and_key() -> None:
    shown = nets(made_audits())
    for look in ("colour", "symbol", "sign", "key"):
        assert len({getattr(net, look) for net in shown}) == 4


def test_equal_names_are_numbered() -> None:
    audit = made_audit("original")
    assert [net.name for net in nets((audit, replace(audit, seed=1)))] == ["original", "original (2)"]


def test_threats_are_sorted_and_complete() -> None:
    found = threats(tuple(reversed(made_audits())))
    assert found == tuple((norm, e) for norm in ("linf", "l2") for e in RADII[norm])
    assert norms(made_audits()) == ["linf", "l2"]
    assert base_of(nets(made_audits())[0], nets(made_audits())) is None
