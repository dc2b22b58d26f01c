"""Every score in the table does what the protocol says."""

from __future__ import annotations

import pytest
import torch

from brittle.compression.protocols import Evidence
from brittle.compression.scores.table import SCORES
from brittle.threats import LinfBall
from tests.compression.coupled_nets import case


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("net_name", ["cnn", "torchvision vit"])
def test_a_number_for_each_unit(name: str, net_name: str) -> None:
    net = case(net_name)
    before = {k: v.clone() for k, v in net.model.state_dict().items()}
    given = Evidence(net.pixels(6), torch.arange(6) % 5, LinfBall(0.03), 0)
    scores = SCORES[name](net.model, net.couplings, given)
    assert list(scores) == [coupling.name for coupling in net.couplings]
    for coupling in net.couplings:
        score = scores[coupling.name]
        assert score.shape == (coupling.units,)
        assert score.dtype == torch.float64
        assert bool((torch.isfinite(score) & (score >= 0)).all())
        assert not score.requires_grad
        assert len(set(score.tolist())) > 1
    assert all(torch.equal(v, before[k]) for k, v in net.model.state_dict().items())
