"""Slope intervals against difference quotients on a fine grid, for every operator of the table."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from brittle.operators.activations import SLOPES
from brittle.operators.handlers import OPERATORS

# Extra arguments by operator; what has none stands once without.
ARGUMENTS: dict[str, list[tuple[tuple[object, ...], dict[str, object]]]] = {
    "aten.hardtanh": [((), {}), ((-0.5, 2.0), {})],
    "aten.clamp": [((-1.0, 2.0), {}), ((None, 1.0), {})],
    "aten.clamp_min": [((-1.0,), {})],
    "aten.clamp_max": [((1.5,), {})],
    "aten.softshrink": [((0.7,), {})],
    "aten.leaky_relu": [((), {}), ((0.2,), {}), ((1.5,), {}), ((-0.5,), {}), ((), {"negative_slope": 0.3})],
    "aten.softplus": [((), {}), ((3.0,), {}), ((-2.0,), {}), ((1.0, 30.0), {})],
    "aten.elu": [((), {}), ((2.0,), {}), ((0.3, 1.2), {}), ((0.5, 1.5, 3.0), {}), ((-0.7,), {})],
    "aten.celu": [((), {}), ((0.4,), {}), ((1.5,), {})],
    "aten.gelu": [((), {}), ((), {"approximate": "tanh"})],
}
CASES = [(kind, *extra) for kind in SLOPES for extra in ARGUMENTS.get(kind, [((), {})])]


def quotients(kind: str, args: tuple[object, ...], named: dict[str, object]) -> Tensor:
    """Slopes between neighbours on a grid; every other pair's slope is an average of these."""
    x = torch.linspace(-16.0, 16.0, 320001, dtype=torch.float64)
    y = getattr(torch.ops.aten, kind.removeprefix("aten."))(x, *args, **named)
    return y.diff() / x.diff()


@pytest.mark.parametrize(("kind", "args", "named"), CASES)
def test_slopes_hold_and_are_tight(kind: str, args: tuple[object, ...], named: dict[str, object]) -> None:
    slopes, found = SLOPES[kind](*args, **named), quotients(kind, args, named)
    assert slopes.low <= float(found.min()) + 1e-9
    assert float(found.max()) - 1e-9 <= slopes.high
    # Argument beyond the grid's reach apart, the interval is tight to 10^-3.
    assert slopes.low == pytest.approx(float(found.min()), abs=1e-3)
    assert slopes.high == pytest.approx(float(found.max()), abs=1e-3)


def test_every_activation_of_the_table_has_a_handler() -> None:
    assert set(SLOPES) <= set(OPERATORS)


@pytest.mark.parametrize(
    ("kind", "args", "why"),
    [
        ("aten.softplus", (1.0, 5.0), "jumps at the threshold"),
        ("aten.softplus", (0.0,), "jumps at the threshold"),
        ("aten.elu", (1.0, 1.0, -1.0), "grows exponentially"),
        ("aten.celu", (-1.0,), "grows exponentially"),
    ],
)
def test_functions_without_slopes_say_why(kind: str, args: tuple[float, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SLOPES[kind](*args)


def test_the_softplus_that_is_refused_has_no_slopes() -> None:
    assert float(quotients("aten.softplus", (1.0, 5.0), {}).min()) < -1.0
