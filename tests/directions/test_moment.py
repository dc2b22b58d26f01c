"""The operator is the mean of J^T J over the samples, whatever the batch size."""

from __future__ import annotations

import pytest
import torch

from brittle.directions.moment import Moment
from brittle.errors import ModelError
from brittle.models.frozen import frozen
from tests.cases import normal
from tests.directions.dense import NETS, moment, pixels


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_products_and_energies_are_those_of_the_dense_moment(name: str, batch_size: int) -> None:
    make, shape = NETS[name]
    body, x = make().body, pixels(5, shape)
    a = moment(body, x)
    with frozen(body):
        operator = Moment(lambda z: body(z).flatten(1), x, batch_size)
        v = normal(2, operator.pixels, seed=3)
        scale = float((v @ a).norm())
        torch.testing.assert_close(operator.apply(v), v @ a, rtol=0, atol=1e-5 * scale)
        torch.testing.assert_close(operator.energies(v), ((v @ a) * v).sum(1), rtol=1e-4, atol=0)
    assert (len(operator), operator.pixels, operator.units) == (5, x[0].numel(), body(x[:1]).numel())


def test_a_derivative_that_blows_up_at_one_sample_is_refused() -> None:
    x = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    operator = Moment(torch.sqrt, x, 2)
    for product in (operator.apply, operator.energies):
        with pytest.raises(ModelError, match="expected finite derivatives"):
            product(torch.eye(2, dtype=torch.float64))
