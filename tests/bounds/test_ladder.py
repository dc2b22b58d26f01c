"""The ladder on trained digits and on nets without constants: ordered, sound, and silent for no reason unsaid."""

from __future__ import annotations

import copy
from dataclasses import replace
from math import inf
from statistics import mean

import pytest
import torch
from torch import nn

from brittle.bounds import ladder
from brittle.bounds.jacobian import largest_jacobian_norms, logit_jacobians
from brittle.bounds.ladder import Constants, lipschitz_constants
from brittle.compressibility.layer import layer_structure
from brittle.operators.linear import DenseView
from brittle.operators.network import Network, read_network
from brittle.results.layer import LayerStructure, NormBound
from tests.bounds.digits_nets import samples, trained
from tests.bounds.small_graphs import mlp, mlp_weights
from tests.operators.nets import settled

NORMS = ("linf", "l2")
LOOP = {"linf": "loop", "l2": "liplt"}
TIGHT = {"linf": "lipsdp-weighted", "l2": "lipsdp"}
SEEDS = range(5)


def rows(network: Network) -> tuple[LayerStructure, ...]:
    return tuple(
        layer_structure(layer.name, layer.view, on_input=layer.on_input, parameters=layer.parameters)
        for layer in network.layers
    )


def values(found: Constants) -> dict[str, float | None]:
    return {rung.rung: rung.value for rung in found.ladder.ladder}


@pytest.fixture(scope="module")
def digits() -> list[dict[str, Constants]]:
    """The constants of five trained nets, with Jacobians at 100 test digits."""
    found = []
    for seed in SEEDS:
        network = read_network(trained(seed), (1, 8, 8))
        jacobians = largest_jacobian_norms(trained(seed), samples(100)[0], 50)
        found.append(lipschitz_constants(network, rows(network), NORMS, jacobians))
    return found


@pytest.mark.parametrize("norm", NORMS)
def test_the_ladder_goes_down_to_slopes_met_on_data(norm: str, digits: list[dict[str, Constants]]) -> None:
    for found in digits:
        rungs = values(found[norm])
        assert list(rungs) == ["product", "alignment", LOOP[norm], TIGHT[norm], "jacobian"]
        assert all(value is not None for value in rungs.values())
        product, alignment, loop, tight, slope = (float(value or 0) for value in rungs.values())
        assert 0 < slope <= min(tight, loop)
        assert loop < product
        assert tight < loop
        assert alignment <= product
        assert found[norm].ladder.best == min(product, alignment, loop, tight)
        assert [r.status for r in found[norm].ladder.ladder] == [*["upper_bound"] * 4, "lower_bound"]
        assert all(r.assumes and r.seconds >= 0 for r in found[norm].ladder.ladder)


def test_on_digits_the_loop_more_than_halves_the_linf_product(digits: list[dict[str, Constants]]) -> None:
    def ratio(found: Constants) -> float:
        rungs = values(found)
        assert rungs["product"] is not None
        loop = rungs[LOOP[found.norm]]
        assert loop is not None
        return loop / rungs["product"]

    assert mean(ratio(found["linf"]) for found in digits) <= 0.45
    assert mean(ratio(found["l2"]) for found in digits) < 1


@pytest.mark.parametrize("norm", NORMS)
def test_pairs_bound_every_jacobian_difference(norm: str, digits: list[dict[str, Constants]]) -> None:
    model = trained(0)
    jacobians = logit_jacobians(copy.deepcopy(model).double(), samples(40)[0])
    pairs = digits[0][norm].pairs
    assert pairs is not None
    differences = jacobians[:, :, None] - jacobians[:, None]
    steep = differences.norm(1 if norm == "linf" else 2, dim=3).amax(0)
    assert bool((steep <= pairs * (1 + 1e-9)).all())
    assert tuple(pairs.shape) == (10, 10)
    # Each pair's own rows: below what two logits could do apart.
    loop = values(digits[0][norm])[LOOP[norm]]
    assert loop is not None
    assert float(pairs.max()) < 1.9 * loop


def test_measured_layers_are_reused() -> None:
    network = Network(mlp(mlp_weights(1, (6, 5, 3))), (), (), "")
    free = lipschitz_constants(network, (), NORMS, {})
    weights = mlp_weights(1, (6, 5, 3))
    row = layer_structure("fc0", DenseView(weights[0][0]), parameters=35)
    doubled = {p: NormBound(2 * b.value, "upper_bound", b.lower) for p, b in row.norms.items()}
    loose = lipschitz_constants(network, (replace(row, norms=doubled),), NORMS, {})
    unused = lipschitz_constants(network, (replace(row, norms=doubled, on_input=False),), NORMS, {})
    for norm in NORMS:
        product = values(free[norm])["product"]
        assert product is not None
        assert values(loose[norm])["product"] == pytest.approx(2 * product)
        assert values(unused[norm])["product"] == product


def test_asking_for_one_norm_gives_one() -> None:
    network = Network(mlp(mlp_weights(1, (6, 5, 3))), (), (), "")
    assert set(lipschitz_constants(network, (), ("l2",), {})) == {"l2"}


@pytest.mark.parametrize("limit", ["_MAX_ENTRIES", "_MAX_WORK"])
def test_too_large_for_the_loop_leaves_the_product_with_the_reason(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(mlp(mlp_weights(1, (6, 5, 3))), (), (), "")
    full = lipschitz_constants(network, (), NORMS, {"l2": 0.5})
    monkeypatch.setattr(ladder, limit, 10)
    monkeypatch.setattr(ladder, "propagate", lambda *_: pytest.fail("the loop ran all the same"))
    for norm in NORMS:
        found = lipschitz_constants(network, (), NORMS, {"l2": 0.5})[norm]
        rungs = {r.rung: r for r in found.ladder.ladder}
        assert rungs[LOOP[norm]].value is None
        assert rungs[LOOP[norm]].assumes == "the layers are too large for its matrices"
        assert rungs["product"].value == values(full[norm])["product"]
        assert found.ladder.best == min(v for k, v in values(found).items() if v is not None and k != "jacobian")
        assert ("jacobian" in rungs) == (norm == "l2")
        assert found.pairs is not None
        assert full[norm].pairs is not None
        assert bool((full[norm].pairs <= found.pairs).all())


def test_a_loop_that_is_no_better_shows_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(mlp(mlp_weights(1, (6, 3))), (), (), "")
    worse = replace(ladder.propagate(network.graph), l2=1e9)  # type: ignore[arg-type]
    monkeypatch.setattr(ladder, "propagate", lambda *_: worse)
    rungs = values(lipschitz_constants(network, (), ("l2",), {})["l2"])
    assert rungs["liplt"] == rungs["product"]


def test_networks_without_a_constant_say_why() -> None:
    opaque = read_network(settled(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3))), (4,))
    untraced = read_network(nn.Linear(4, 3), None)
    for network, why in ((opaque, "layer norm's constant grows"), (untraced, "the input size is not known")):
        found = lipschitz_constants(network, rows(network), NORMS, {"linf": 2.0})
        for norm in NORMS:
            assert found[norm].pairs is None
            assert found[norm].ladder.best is None
            first, *rest = found[norm].ladder.ladder
            assert (first.rung, first.value) == ("product", None)
            assert why in first.assumes
            assert [(r.rung, r.value) for r in rest] == ([("jacobian", 2.0)] if norm == "linf" else [])


def test_constants_beyond_float64_are_no_numbers() -> None:
    weights = [(w * 1e200, b) for w, b in mlp_weights(1, (4, 5, 5, 3))]
    for norm in NORMS:
        found = lipschitz_constants(Network(mlp(weights), (), (), ""), (), NORMS, {})[norm]
        assert found.pairs is None
        assert found.ladder.best is None
        assert {r.assumes for r in found.ladder.ladder} == {"the product of norms is beyond what float64 can hold"}
        assert all(r.value is None or r.value < inf for r in found.ladder.ladder)


def test_a_trained_net_is_read_as_its_layers() -> None:
    network = read_network(trained(0), (1, 8, 8))
    assert [layer.name for layer in network.layers] == ["fc1", "fc2", "head"]
    assert torch.is_tensor(network.layers[0].view.matrix())
