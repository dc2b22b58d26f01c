from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.errors import DataError, UsageError
from brittle.evaluation.model_checks import model_checks

NAMES = [
    "evaluation mode",
    "finite logits for every label",
    "deterministic",
    "samples do not affect each other",
    "logits, not probabilities",
    "accuracy above chance",
    "input gradients",
]
W = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
X = torch.rand(60, 6, generator=torch.Generator().manual_seed(1))
Y = ((X - 0.5) @ W.T).argmax(1)


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(W.clone())
        self.eval()

    def scores(self, x):
        return (x - 0.5) @ self.weight.T

    def forward(self, x):
        return self.scores(x)


class Stochastic(Linear):
    def forward(self, x):
        return self.scores(x) + 0.1 * torch.rand(len(x), 4)


class BatchNormed(Linear):
    def forward(self, x):
        return self.scores(x) - self.scores(x).mean(0)


class Softmax(Linear):
    def forward(self, x):
        return self.scores(x).softmax(1)


class Swapped(Linear):
    def forward(self, x):
        return -self.scores(x)


class Detached(Linear):
    def forward(self, x):
        return self.scores(x).detach()


class Rounded(Linear):
    def forward(self, x):
        return self.scores((x * 50).round() / 50)


class Infinite(Linear):
    def forward(self, x):
        return self.scores(x) / 0


class Tuple(Linear):
    def forward(self, x):
        return self.scores(x), x


class TooFew(Linear):
    def forward(self, x):
        return self.scores(x)[:, :2]


class Fails(Linear):
    def forward(self, x):
        raise RuntimeError("expected input with 3 channels\nlong trace")


def checks(model, y=Y, batch_size=25):
    found = model_checks(model, X, y, batch_size=batch_size)
    assert [check.check for check in found] == NAMES[: len(found)]
    return {check.check: check for check in found}


def test_a_sound_model_passes_every_check():
    found = checks(Linear())
    assert len(found) == len(NAMES)
    assert {check.verdict for check in found.values()} == {"ok"}


@pytest.mark.parametrize(
    ("model", "check", "verdict", "words"),
    [
        (Stochastic(), "deterministic", "problem", "two forward passes differ by"),
        (BatchNormed(), "samples do not affect each other", "problem", "with the others in its batch"),
        (Softmax(), "logits, not probabilities", "warning", "remove the softmax"),
        (Swapped(), "accuracy above chance", "warning", "no better than chance (0.25)"),
        (Detached(), "input gradients", "warning", "gradient attacks cannot see this model"),
        (Rounded(), "input gradients", "warning", "every input gradient is zero"),
        (Infinite(), "finite logits for every label", "problem", "expected finite logits"),
        (Tuple(), "finite logits for every label", "problem", "got tuple"),
        (TooFew(), "finite logits for every label", "problem", "labels from 0 to 1"),
        (Fails(), "finite logits for every label", "problem", "fails on pixels of shape (25, 6), torch.float32"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_each_fault_is_found_and_named(model, check, verdict, words):
    found = checks(model)
    assert found[check].verdict == verdict
    assert words in found[check].advice
    assert "\n" not in found[check].advice
    others = [c for name, c in found.items() if name != check and c.verdict != "ok"]
    assert others == []
    if verdict == "problem":
        assert list(found)[-1] == check


def test_train_mode_is_noted_and_given_back():
    model = nn.Sequential(Linear(), nn.Dropout(0.5))
    model[0].train()
    model[1].eval()
    found = checks(model)
    assert found["evaluation mode"].verdict == "warning"
    assert found["deterministic"].verdict == "ok"
    assert model[0].training
    assert not model[1].training


def test_dropout_that_ignores_evaluation_mode_is_a_problem():
    class Always(Linear):
        def forward(self, x):
            return nn.functional.dropout(self.scores(x), 0.2, training=True)

    assert checks(Always())["deterministic"].verdict == "problem"


def test_the_batch_size_is_obeyed():
    sizes = []

    class Spy(Linear):
        def forward(self, x):
            sizes.append(len(x))
            return self.scores(x)

    checks(Spy(), batch_size=7)
    assert max(sizes) == 7


def test_unusable_samples_are_the_caller_s_error():
    with pytest.raises(DataError, match=r"pixels in \[0, 1\]"):
        model_checks(Linear(), X * 255, Y, batch_size=8)
    with pytest.raises(UsageError, match="batch size"):
        model_checks(Linear(), X, Y, batch_size=0)
