"""The margin's directions are the exact singular vectors of the stacked gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.directions.margin import margin_directions, margin_gradients
from brittle.directions.samples import Samples, Search
from brittle.errors import DataError, ModelError
from brittle.models.frozen import frozen
from tests.directions.dense import NETS, joined, overlap, pixels
from tests.operators.nets import Step

NAME = "max pooling, then average"
SEARCH = Search(k=4, batch_size=3, seed=0, tolerance=1e-2, budget=10)


def data(n: int, shape: tuple[int, ...], classes: int, seed: int = 0) -> Samples:
    y = torch.randint(0, classes, (n,), generator=torch.Generator().manual_seed(seed))
    return Samples(pixels(n, shape, seed), y)


def reference(model: nn.Module, samples: Samples) -> Tensor:
    """Gradients (n, d) of each margin, sample by sample in float64."""
    model.double()
    rows = []
    for x, label in zip(samples.x.double(), samples.y.tolist(), strict=True):
        j = torch.autograd.functional.jacobian(lambda z: model(z[None])[0], x).flatten(1)
        z = model(x[None])[0].detach()
        best = max((c for c in range(len(z)) if c != label), key=lambda c: float(z[c]))
        rows.append(j[label] - j[best])
    model.float()
    return torch.stack(rows)


@pytest.mark.parametrize("n", [7, 40, 150])  # fewer and more samples than the 128 pixels
def test_directions_energies_and_shares_are_those_of_a_dense_svd(n: int) -> None:
    make, shape = NETS[NAME]
    model = make()
    fit, score = data(n, shape, 3), data(9, shape, 3, seed=1)
    with frozen(model):
        found = margin_directions(model, fit, score, SEARCH)
    g, other = reference(model, fit), reference(model, score)
    _, s, vt = torch.linalg.svd(g, full_matrices=False)
    torch.testing.assert_close(found.energies, s[:4] ** 2 / n, rtol=1e-4, atol=0)
    for i in range(4):
        assert overlap(found.vectors[: i + 1], vt[: i + 1]) > 0.9999
    identity = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(found.vectors @ found.vectors.T, identity, rtol=0, atol=1e-10)
    assert found.residuals.max() < 1e-6
    assert found.trace.value == pytest.approx(float((g * g).sum()) / n, rel=1e-5)
    assert found.scored_trace.value == pytest.approx(float((other * other).sum()) / 9, rel=1e-5)
    torch.testing.assert_close(found.scored, ((other @ found.vectors.T) ** 2).mean(0), rtol=1e-4, atol=1e-9)
    assert (found.name, found.trace.status, found.scored_trace.error, found.products) == ("margin", "exact", 0.0, 1)


def test_gradients_do_not_depend_on_the_batch_size_and_labels_default_to_the_prediction() -> None:
    make, shape = NETS[NAME]
    model, samples = make(), data(8, shape, 3)
    predicted = Samples(samples.x, model(samples.x).argmax(1))
    torch.testing.assert_close(
        margin_gradients(model, samples, 1), margin_gradients(model, samples, 8), rtol=1e-4, atol=1e-5
    )
    assert torch.equal(margin_gradients(model, Samples(samples.x, None), 3), margin_gradients(model, predicted, 3))
    assert not torch.equal(margin_gradients(model, samples, 3), margin_gradients(model, predicted, 3))


def test_a_linear_classifier_in_two_classes_has_one_direction_and_the_rest_carry_nothing() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    with frozen(model):
        found = margin_directions(model, data(6, (1, 3, 3), 2), data(2, (1, 3, 3), 2, 1), SEARCH)
    difference = (model[1].weight[0] - model[1].weight[1]).detach().double()
    assert float((found.vectors[0] @ difference).abs() / difference.norm()) == pytest.approx(1.0)
    assert found.energies[0] == pytest.approx(float(difference @ difference))
    assert float(found.energies[1:].max()) < 1e-12
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(4).double(), rtol=0, atol=1e-10)


def test_a_constant_model_has_no_sensitive_direction() -> None:
    model = joined(nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), (1, 3, 3))
    torch.nn.init.zeros_(model.head.weight)
    with frozen(model):
        found = margin_directions(model, data(5, (1, 3, 3), 4), data(2, (1, 3, 3), 4, 1), SEARCH)
    assert found.energies.tolist() == found.residuals.tolist() == [0.0] * 4
    assert found.trace.value == 0.0
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(4).double(), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda z: z[:, :1], ModelError, "a margin needs at least 2 classes, got 1 logit"),
        (lambda z: z / 0, ModelError, "expected finite outputs, got NaN or infinity: check the weights"),
        (lambda z: z.detach(), ModelError, "outputs without a graph"),
        (lambda z: (z - z.detach()).sqrt(), ModelError, "expected finite derivatives, got NaN or infinity"),
        (lambda z: z[:, :2], DataError, "labels from 0 to 1 for a model of 2 classes, got 2 to 2: check that model"),
    ],
)
def test_models_and_labels_without_a_margin_are_refused(function: object, error: type[Exception], message: str) -> None:
    samples = Samples(pixels(2, (3,)), torch.tensor([2, 2]))
    with pytest.raises(error, match=message):
        margin_gradients(Step(function), samples, 2)  # type: ignore[arg-type]
