"""Signs of masking after the attacks: none on honest nets, and the right ones on nets made to mask."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from brittle.attacks.square import Square
from brittle.attacks.table import EFFORTS
from brittle.compression.factorise import factorise
from brittle.data.load import load_data
from brittle.errors import DataError, ModelError, UsageError
from brittle.evaluation.accuracy import attack_survivors
from brittle.evaluation.masking_signs import masking_signs
from brittle.models.recipe import Recipe, build
from brittle.results.audit import Check
from brittle.threats import ball
from brittle.training.loop import Budget, fit

FLAT, STEPS = "the loss is not flat at survivors", "more steps do not hurt the attack"
QUERIES, TRANSFER = "queries alone do not break survivors", "transfer does not break survivors"
TEST = load_data("digits").split("test").take(120, 0)
LINF = ball("linf", 0.1)


@cache
def pair(seed: int) -> tuple[nn.Module, nn.Module]:
    """A dense net and its low-rank child; the child cheaply made, so it transfers well."""
    data = load_data("digits")
    net = build(Recipe("mlp", (1, 8, 8), 10, {"width": 40, "depth": 2}), seed=seed)
    fit(net, data.split("train"), data.split("validation"), Budget(epochs=10, learning_rate=3e-3), seed=seed)
    child = factorise(net, {"fc1": 10, "fc2": 10})
    return net, fit(child, data.split("train"), data.split("validation"), Budget(epochs=3), seed=seed)


class Masked(nn.Module):
    """The honest net behind something that hides its gradients; the predictions are nearly the same."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.net = kind, copy.deepcopy(pair(0)[0])

    def forward(self, x: Tensor) -> Tensor:
        levels = torch.linspace(0.05, 0.95, 10)
        return {
            "temperature": lambda: 1e4 * self.net(x),
            "rounded": lambda: self.net((x * 4).round() / 4),
            "shattered": lambda: self.net(x + 0.02 * torch.sin(300 * x)),
            "thermometer": lambda: self.net((x[..., None] > levels).float().mean(-1)),
            "signs": lambda: _signs(self.net(x)),
        }[self.kind]()


def _signs(z: Tensor) -> Tensor:
    """Signs of the logits, with the gradients of the logits themselves."""
    return z.detach().sign() + (z - z.detach())


def found(model: nn.Module, threat: object = LINF, **options: object) -> dict[str, Check]:
    if "survivors" not in options:
        attacks = () if getattr(model, "kind", "") == "thermometer" else EFFORTS["quick"]
        attacked = attack_survivors(model, TEST.x, TEST.y, threat, attacks, batch_size=200, seed=0)
        options["survivors"] = attacked.survived
    signs = masking_signs(model, TEST.x, TEST.y, threat, batch_size=200, seed=0, **options)
    return {sign.check: sign for sign in signs}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threat", [LINF, ball("l2", 0.5)], ids=["linf", "l2"])
def test_honest_nets_show_no_sign(seed: int, threat: object) -> None:
    net, child = pair(seed)
    for model, other in ((net, child), (child, net)):
        signs = found(model, threat, surrogate=other, black_box=Square(queries=250))
        assert list(signs) == [FLAT, STEPS, QUERIES, TRANSFER]
        assert [sign.verdict for sign in signs.values()] == ["ok"] * 4, signs


MASKED = {
    "temperature": {FLAT},
    "rounded": {FLAT, QUERIES, TRANSFER},
    "shattered": {STEPS, QUERIES, TRANSFER},
    "thermometer": {FLAT, STEPS, QUERIES, TRANSFER},
}


@pytest.mark.parametrize("kind", MASKED)
def test_masked_nets_show_the_signs_of_their_kind(kind: str) -> None:
    signs = found(Masked(kind), surrogate=pair(0)[1])
    assert {name for name, sign in signs.items() if sign.verdict == "warning"} == MASKED[kind], signs
    for sign in signs.values():
        assert ("a sign of masked gradients" in sign.advice) == (sign.verdict == "warning")


def test_the_numbers_are_in_the_texts() -> None:
    signs = found(Masked("temperature"))
    assert "survivors 100.0% have a cross-entropy with a gradient of exactly zero, 0.0% a margin" in signs[FLAT].advice
    assert TRANSFER not in signs, "without a surrogate there is nothing to transfer"
    signs = found(Masked("thermometer"))
    assert "no gradient reaches the pixels" in signs[FLAT].advice
    assert "no gradient reaches the pixels" in signs[STEPS].advice
    assert signs[STEPS].advice.count("expected logits") == 1


def test_broken_samples_are_counted_among_survivors_only() -> None:
    """The attack breaks everything; only survivors count, in the number and in the share of all samples."""

    class Zeros:
        name, cost = "black", 1

        def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: object, **_: object) -> Tensor:
            return torch.zeros_like(x)

    class Bright(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            on = (x.flatten(1).sum(1) > 0).float()
            return torch.stack([1 - on, on], 1) + 0 * x.flatten(1)[:, :2]

    x, y = TEST.x[:100], torch.ones(100, dtype=torch.int64)
    for count, verdict in ((2, "ok"), (3, "warning")):
        survivors = torch.arange(100) < count
        signs = masking_signs(Bright(), x, y, LINF, survivors=survivors, black_box=Zeros(), batch_size=50, seed=0)
        (sign,) = [sign for sign in signs if sign.check == QUERIES]
        assert sign.verdict == verdict
        expected = f"broke {count} of {count} samples that white-box attacks left ({count / 100:.1%} of all)"
        assert expected in sign.advice
        assert sign.advice.startswith("black, without gradients,")


def test_a_margin_that_noise_does_not_move_is_found() -> None:
    net = Masked("signs")
    signs = found(net, survivors=torch.ones(len(TEST), dtype=torch.bool))
    share = float(signs[FLAT].advice.split("and ")[1].split("%")[0])
    assert "survivors 0.0% have a cross-entropy with a gradient of exactly zero, 0.0% a margin" in signs[FLAT].advice
    assert signs[FLAT].verdict == "warning"
    assert share > 5


def test_no_survivors_no_doubt() -> None:
    signs = found(pair(0)[0], survivors=torch.zeros(len(TEST), dtype=torch.bool), surrogate=pair(0)[1])
    assert [sign.verdict for sign in signs.values()] == ["ok"] * 4
    assert signs[FLAT].advice == "no sample survived"
    assert "broke 0 of 0" in signs[QUERIES].advice


def test_results_do_not_depend_on_the_batch_size() -> None:
    model, threat = Masked("shattered"), ball("linf", 0.05)
    attacked = attack_survivors(model, TEST.x, TEST.y, threat, EFFORTS["quick"], batch_size=200, seed=0)
    one, other = (
        masking_signs(
            model,
            TEST.x,
            TEST.y,
            threat,
            survivors=attacked.survived,
            surrogate=pair(0)[1],
            black_box=Square(queries=50),
            batch_size=size,
            seed=0,
        )
        for size in (17, 120)
    )
    assert [sign.verdict for sign in one] == [sign.verdict for sign in other]
    assert one[2] == other[2]


def test_bad_input_is_refused() -> None:
    net = pair(0)[0]
    for survivors in (torch.ones(3, dtype=torch.bool), torch.ones(len(TEST))):
        with pytest.raises(UsageError, match="expected survivors as 120 booleans"):
            found(net, survivors=survivors)
    with pytest.raises(DataError, match="labels from 0 to 2"):
        found(net, surrogate=nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    with pytest.raises((ModelError, RuntimeError), match="shape"):
        found(net, surrogate=nn.Sequential(nn.Flatten(), nn.Linear(63, 10)))
