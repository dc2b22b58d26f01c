"""The attacks by name, and how much of them each effort runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from brittle.attacks.apgd import APGD
from brittle.attacks.cascade import Cascade
from brittle.attacks.deepfool import DeepFool
from brittle.attacks.fab import FAB
from brittle.attacks.fab_targeted import TargetedFAB
from brittle.attacks.fgsm import FGSM
from brittle.attacks.minimal import MinimalAttack
from brittle.attacks.pgd import PGD
from brittle.attacks.protocol import Attack
from brittle.attacks.reference import AutoAttack
from brittle.attacks.square import Square
from brittle.attacks.targeted import TargetedAPGD
from brittle.errors import UsageError

# Each factory takes the attack's own fields by keyword: ATTACKS["pgd"](steps=40).
ATTACKS: dict[str, Callable[..., Attack]] = {
    "fgsm": FGSM,
    "pgd": PGD,
    "apgd": APGD,
    "apgd-dlr": partial(APGD, loss="dlr"),
    "apgd-targeted": TargetedAPGD,
    "cascade": Cascade,
    "square": Square,
    "autoattack": AutoAttack,
}

# Attacks that look for the smallest radius instead of filling a given one.
MINIMAL_ATTACKS: dict[str, MinimalAttack] = {
    "deepfool": DeepFool(),
    "fab": FAB(),
    "fab-targeted": TargetedFAB(),
}

_QUICK: tuple[Attack, ...] = (PGD(steps=10, step_size=0.5), APGD(steps=20))
_STANDARD: tuple[Attack, ...] = (PGD(steps=20), APGD(steps=50), APGD(steps=50, loss="dlr"))
_THOROUGH: tuple[Attack, ...] = (*_STANDARD, Cascade())

# Cheap attacks first: each one only meets the samples that stood up to those before it.
EFFORTS: dict[str, tuple[Attack, ...]] = {"quick": _QUICK, "standard": _STANDARD, "thorough": _THOROUGH}


def attack_named(name: str) -> Attack:
    """The attack called `name` in `ATTACKS`, with its default settings.

    Raises:
        UsageError: no such attack.
    """
    if name not in ATTACKS:
        raise UsageError(f"unknown attack {name!r}: expected one of {', '.join(ATTACKS)}")
    return ATTACKS[name]()


def effort_named(name: str) -> tuple[Attack, ...]:
    """The attacks of an effort, in the order they are run.

    Raises:
        UsageError: no such effort.
    """
    if name not in EFFORTS:
        raise UsageError(f"unknown effort {name!r}: expected one of {', '.join(EFFORTS)}")
    return EFFORTS[name]
