from __future__ import annotations

import pytest

from brittle.attacks.table import EFFORTS
from brittle.auditing.attack_options import AttackOptions, attack_names
from brittle.errors import UsageError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": ()}, "no attack given: name one or more of fgsm, pgd"),
        ({"attacks": ("pdg",)}, "unknown attack 'pdg': expected one of fgsm, pgd"),
        ({"norm": "l0"}, "unknown norm 'l0': expected one of linf, l2, l1"),
        ({"epsilon": (0.1, -1.0)}, "epsilon must be a positive number"),
        ({"fit": 0}, "fit and directions must be at least 1, got 0 and 8"),
        ({"directions": 0}, "fit and directions must be at least 1, got 1000 and 0"),
        ({"target": 3}, "add --attack universal, or leave it out"),
        ({"norm": "l1", "attacks": ("directional",)}, "attacks along directions exist in linf and l2, got norm l1"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"batch_size": 0}, "batch size must be at least 1"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AttackOptions(**options)


def test_radii_are_sorted_and_default_by_norm_and_channels() -> None:
    assert [t.epsilon for t in AttackOptions(epsilon=(0.2, 0.1, 0.2)).threats((1, 8, 8))] == [0.1, 0.2]
    for norm in ("linf", "l2", "l1"):
        grey, colour = (AttackOptions(norm=norm).threats(shape) for shape in ((1, 8, 8), (3, 8, 8)))
        assert all(t.norm == norm for t in (*grey, *colour))
        assert grey != colour


def test_an_effort_stands_for_its_attacks_and_others_keep_their_order() -> None:
    options = AttackOptions(attacks=("square", "fab", "effort-quick", "universal"))
    assert [a.name for a in options.chain][1:] == [a.name for a in EFFORTS["quick"]]
    assert options.chain[0].name.startswith("square")
    assert options.fits
    assert not AttackOptions(attacks=("apgd",)).fits


def test_every_name_is_taken() -> None:
    for name in attack_names():
        AttackOptions(attacks=(name,))
