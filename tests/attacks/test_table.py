from __future__ import annotations

import pytest

from brittle.attacks.table import ATTACKS, EFFORTS, MINIMAL_ATTACKS, attack_named, effort_named
from brittle.errors import UsageError


@pytest.mark.parametrize("name", ATTACKS)
def test_every_name_makes_an_attack_that_tells_its_name_and_cost(name):
    attack = attack_named(name)
    assert attack.name.startswith(name.split("-")[0])
    assert attack.cost >= 1


def test_a_factory_takes_the_attack_s_settings():
    assert ATTACKS["pgd"](steps=40).cost == 40
    assert ATTACKS["apgd-dlr"](steps=7).name == "apgd-dlr-7"


@pytest.mark.parametrize("name", MINIMAL_ATTACKS)
def test_minimal_attacks_stand_under_their_names(name):
    attack = MINIMAL_ATTACKS[name]
    assert attack.name.startswith(name)
    assert attack.cost >= 1


def test_efforts_name_their_attacks():
    names = {effort: [attack.name for attack in effort_named(effort)] for effort in EFFORTS}
    assert names["quick"] == ["pgd-margin-10", "apgd-ce-20"]
    assert names["standard"] == ["pgd-margin-20", "apgd-ce-50", "apgd-dlr-50"]
    assert names["thorough"] == [*names["standard"], "cascade-50x12"]


def test_efforts_cost_more_and_more():
    costs = [sum(attack.cost for attack in EFFORTS[effort]) for effort in ("quick", "standard", "thorough")]
    assert costs == [30, 120, 720]


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="unknown attack 'spare': expected one of fgsm, pgd, apgd"):
        attack_named("spare")
    with pytest.raises(UsageError, match="unknown effort 'max': expected one of quick, standard, thorough"):
        effort_named("max")
