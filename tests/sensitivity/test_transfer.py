"""Transfer between nets, where it is known: equal nets, orthogonal ones, opposite ones."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from brittle.attacks.fgsm import FGSM
from brittle.attacks.pgd import PGD
from brittle.attacks.universal import SteepestAscent
from brittle.attacks.universal_start import ZeroStart
from brittle.errors import DataError, ModelError, UsageError
from brittle.sensitivity.transfer import Examples, UniversalFit, transfer_matrix
from brittle.threats import ball

DIM, N = 6, 120
METHOD = SteepestAscent(steps=20, starts=(ZeroStart(),))


def line(weights):
    """Class 1 where the weighted pixels exceed their value at grey."""
    model, row = nn.Linear(DIM, 2).double(), torch.tensor(weights).double()
    with torch.no_grad():
        model.weight.copy_(torch.stack([-row, row]))
        model.bias.copy_(torch.tensor([1.0, -1.0]).double() * row.sum() / 2)
    return model


def nets():
    """The left half of the pixels decides in "left" and "twin", the right half in "right"."""
    half = [1.0] * (DIM // 2)
    return {"left": line(half + [0.0] * 3), "twin": line([3.0] * 3 + [0.0] * 3), "right": line([0.0] * 3 + half)}


def samples():
    """Pixels of [0.3, 0.7] whose two halves agree on the class."""
    generator = torch.Generator().manual_seed(0)
    x = 0.3 + 0.4 * torch.rand(20 * N, DIM, generator=generator, dtype=torch.float64)
    left, right = x[:, :3].sum(1) - 1.5, x[:, 3:].sum(1) - 1.5
    x, y = x[left * right > 0], (left > 0).long()[left * right > 0]
    return x[:N], y[:N]


def cells(found, kind):
    return {(t.source, t.target): t for t in found if t.kind == kind}


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.04), ("l2", 0.07)])
@pytest.mark.parametrize("attack", [None, PGD(), FGSM()], ids=["default", "pgd", "fgsm"])
def test_examples_hurt_nets_that_look_at_the_same_pixels(norm, epsilon, attack):
    x, y = samples()
    maker = Examples() if attack is None else Examples(attack)
    found = cells(transfer_matrix(nets(), x, y, ball(norm, epsilon), [maker], batch_size=50, seed=0), "examples")
    # Closed form: a sample falls where its half is nearer to grey than epsilon times the dual norm of the weights.
    dual = 3.0 if norm == "linf" else 3.0**0.5
    stands = {
        "left": float(((x[:, :3].sum(1) - 1.5).abs() > epsilon * dual).double().mean()),
        "right": float(((x[:, 3:].sum(1) - 1.5).abs() > epsilon * dual).double().mean()),
    }
    assert len(found) == 9
    for source, target in (("left", "left"), ("left", "twin"), ("twin", "left"), ("right", "right")):
        expected = stands["right" if target == "right" else "left"]
        # An attack that stops early stops just across the source's boundary, which is the twin's too.
        assert found[source, target].accuracy == pytest.approx(expected, abs=1.5 / N)
        assert found[source, target].damage_share == pytest.approx(1.0, abs=0.1)
    for pair in found.values():
        assert (pair.clean, pair.n, pair.norm, pair.epsilon) == (1.0, N, norm, epsilon)
    assert stands["left"] < 0.9
    for source, target in (("left", "right"), ("right", "twin")):
        assert found[source, target].accuracy == 1.0 or attack is not FGSM()
        assert found[source, target].damage_share < 0.3
    share, z = found["left", "left"].accuracy, 1.959963984540054
    half = z * (share * (1 - share) / N + z**2 / (4 * N**2)) ** 0.5
    bounds = [(share + z**2 / (2 * N) + s * half) / (1 + z**2 / N) for s in (-1, 1)]
    assert found["left", "left"].interval95 == pytest.approx(bounds)


def test_steps_of_the_source_alone_leave_an_orthogonal_net_untouched():
    x, y = samples()
    found = cells(
        transfer_matrix(nets(), x, y, ball("l2", 0.07), [Examples(FGSM())], batch_size=50, seed=0), "examples"
    )
    assert found["left", "right"].accuracy == 1.0
    assert found["left", "right"].damage_share == 0.0


def test_one_perturbation_for_all_is_fitted_where_it_was_told():
    x, y = samples()
    zeros = torch.zeros(60, dtype=torch.int64)
    # Fitted on samples of class 0: it pushes the left half up, which is right for class 1.
    maker = UniversalFit(x[y == 0][:60].repeat(3, 1)[:60], zeros, METHOD)
    found = cells(transfer_matrix(nets(), x, y, ball("linf", 0.04), [maker], batch_size=500, seed=0), "universal")
    fallen = (y == 0) & ((x[:, :3].sum(1) - 1.5).abs() < 0.12)
    for source in ("left", "twin"):
        assert found[source, "left"].accuracy == pytest.approx(1 - float(fallen.double().mean()), abs=1.5 / N)
        assert found[source, "right"].accuracy == 1.0
        assert found[source, "right"].damage_share == 0.0
    assert found["left", "left"].damage_share == 1.0


def test_shares_above_one_and_none():
    @dataclass(frozen=True)
    class Up:
        """Pushes the left half over, three times as far for the twin as for the others."""

        kind: str = "examples"

        def __call__(self, source, x, y, threat, *, batch_size, seed):
            moved = x.clone()
            amount = 0.03 if float(source.weight.detach()[1, 0]) == 3.0 else 0.01
            moved[:, :3] -= amount * (2 * y[:, None] - 1)
            return moved

    x, y = samples()
    found = cells(transfer_matrix(nets(), x, y, ball("linf", 0.04), [Up()], batch_size=500, seed=0), "examples")
    assert found["twin", "left"].damage_share > 1.5
    own, other = found["left", "left"].accuracy, found["twin", "left"].accuracy
    assert found["twin", "left"].damage_share == pytest.approx((1 - other) / (1 - own))
    assert found["left", "right"].damage_share is None


def test_order_kinds_progress_and_batch_size():
    x, y = samples()
    makers, told = [Examples(PGD(steps=3)), UniversalFit(x, y, METHOD)], []
    found = transfer_matrix(
        nets(), x, y, ball("l2", 0.1), makers, batch_size=500, seed=0, progress=lambda *a: told.append(a)
    )
    names = list(nets())
    assert [(t.kind, t.source, t.target) for t in found] == [
        (kind, source, target) for kind in ("examples", "universal") for source in names for target in names
    ]
    assert told == [("transfer", i, 6) for i in range(1, 7)]
    assert transfer_matrix(nets(), x, y, ball("l2", 0.1), makers, batch_size=110, seed=0) == found
    assert [t for t in found if t.kind == "examples"] == list(
        transfer_matrix(nets(), x, y, ball("l2", 0.1), makers[:1], batch_size=13, seed=0)
    )


@dataclass(frozen=True)
class Moves:
    by: float
    kind: str = "examples"

    def __call__(self, source, x, y, threat, *, batch_size, seed):
        return x[:, :-1] if self.by == 0 else x + self.by


def test_what_is_refused():
    x, y = samples()
    threat, settings = ball("linf", 0.1), {"batch_size": 50, "seed": 0}
    one = {"left": nets()["left"]}
    for models, makers, message in (
        (one, [Examples()], "at least 2 nets, got 1"),
        (nets(), [], "something to make perturbations with"),
        (nets(), [Moves(0.2)], "examples made on 'left' left the threat: linf length 0.2"),
        (nets(), [Moves(0.0)], r"examples made on 'left' must have shape \(120, 6\), got \(120, 5\)"),
    ):
        with pytest.raises(UsageError, match=message):
            transfer_matrix(models, x, y, threat, makers, **settings)
    with pytest.raises(UsageError, match="batch size must be >= 1, got 0"):
        transfer_matrix(nets(), x, y, threat, [Examples()], batch_size=0, seed=0)
    with pytest.raises(DataError, match="int64 labels"):
        transfer_matrix(nets(), x, y[:-1], threat, [Examples()], **settings)
    with pytest.raises(ModelError, match="at least 2 classes"):
        transfer_matrix({**one, "b": nn.Linear(DIM, 1).double()}, x, y, threat, [Examples()], **settings)
