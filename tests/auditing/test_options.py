"""Options are checked before any work, and say which radii are measured."""

from __future__ import annotations

import pytest

from brittle.auditing.options import DEFAULT_EPSILON, AuditOptions
from brittle.errors import UsageError

GREY, COLOUR, FLAT = (1, 8, 8), (3, 8, 8), (7,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"norms": ("l3",)}, "unknown norm 'l3': expected one of linf, l2$"),
        ({"norms": ("l1",)}, r"unknown norm 'l1': expected one of linf, l2 \(bounds exist"),
        ({"epsilon": {"l1": (0.1,)}}, "unknown norm 'l1': expected one of linf, l2"),
        ({"epsilon": {"l3": (0.1,)}}, "unknown norm 'l3'"),
        ({"epsilon": {"linf": (-0.1,)}}, "epsilon must be a positive number in pixel units"),
        ({"epsilon": {"linf": (float("nan"),)}}, "epsilon must be a positive number"),
        ({"effort": "heroic"}, "unknown effort 'heroic': expected one of quick, standard, thorough"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"k_fraction": 0.0}, r"k is a fraction of the layer's rows in \(0, 1\], got 0.0"),
        ({"k_fraction": 1.5}, "k is a fraction"),
        ({"batch_size": 0}, "batch size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0 and below"),
        ({"seed": 2**63}, "seed must be at least 0 and below"),
        ({"max_drop": -1.0}, "max-drop is in percentage points, 0 to 100, got -1.0"),
        ({"max_drop": float("nan")}, "max-drop is in percentage points"),
        ({"time_limit": 0.0}, "time limit must be a positive number of seconds, got 0.0"),
        ({"time_limit": float("nan")}, "time limit must be a positive"),
        ({"device": "abacus"}, r"device 'abacus' is not available here \(.*\): use cpu"),
        ({"device": "cuda:99"}, r"device 'cuda:99' is not available here \(.*\): use cpu"),
        ({"device": "meta"}, "device 'meta' holds no numbers: use cpu"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        AuditOptions(**values)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def balls(options: AuditOptions, shape: tuple[int, ...]) -> list[tuple[str, float]]:
    return [(threat.norm, threat.epsilon) for threat in options.threats(shape)]


def test_radii_come_linf_first_ascending_and_once() -> None:
    options = AuditOptions(epsilon={"l2": (0.5, 0.25), "linf": (0.1, 0.05, 0.1)})
    assert balls(options, GREY) == [("linf", 0.05), ("linf", 0.1), ("l2", 0.25), ("l2", 0.5)]


@pytest.mark.parametrize(("shape", "kind"), [(GREY, "grey"), (FLAT, "grey"), (COLOUR, "colour"), ((3,), "grey")])
def test_default_radii_go_by_the_channels(shape: tuple[int, ...], kind: str) -> None:
    expected = [(norm, radius) for norm in ("linf", "l2") for radius in DEFAULT_EPSILON[kind][norm]]
    assert balls(AuditOptions(), shape) == expected


def test_only_the_norms_asked_for_are_measured() -> None:
    both = {"linf": (0.1,), "l2": (0.5,)}
    assert balls(AuditOptions(norms=("l2",), epsilon=both), GREY) == [("l2", 0.5)]
    assert balls(AuditOptions(epsilon={"l2": (0.5,)}), GREY) == [("l2", 0.5)]
    with pytest.raises(UsageError, match="no radius given for linf: add one"):
        AuditOptions(norms=("linf",), epsilon={"l2": (0.5,)}).threats(GREY)


def test_radii_that_results_could_not_tell_apart_are_refused() -> None:
    with pytest.raises(UsageError, match=r"several radii are linf@0\.05 to six digits"):
        AuditOptions(epsilon={"linf": (0.05, 0.05000000001)}).threats(GREY)
