"""L_hat of Theorem 3.2: sound on real networks, its logarithm adds up, closed forms, and what it refuses."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from math import log, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from brittle.bounds.chain import encoder_chain, window_overlap
from brittle.bounds.encoder import encoder_bounds, risk_slope
from brittle.bounds.encoder_change import encoder_change
from brittle.compression.factorise import factorise
from brittle.errors import UsageError
from brittle.models.recipe import Recipe, build
from brittle.operators.graph import Graph
from brittle.operators.network import read_network
from brittle.results.encoder import EncoderBound, EncoderTerm
from brittle.results.serialise import from_dict, to_dict
from tests.cases import CONVOLUTIONS, normal

NORMS = ("linf", "l2")


def graph_of(model: nn.Module, shape: tuple[int, ...]) -> Graph:
    graph = read_network(model, shape).graph
    assert graph is not None
    return graph


def net(*layers: Tensor | nn.Module, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Dense weights with an activation after each but the last; modules stand as they are."""
    modules: list[nn.Module] = []
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.Module):
            modules.append(layer)
            continue
        linear = nn.Linear(layer.shape[1], layer.shape[0]).double()
        linear.weight.data.copy_(layer)
        modules.append(linear)
        if i < len(layers) - 1:
            modules.append(activation())
    return nn.Sequential(*modules)


def encoder_slope(model: nn.Sequential, shape: tuple[int, ...], norm: str, seed: int) -> float:
    """The largest Jacobian norm of everything before the head, at random inputs."""
    encoder = nn.Sequential(*list(model.children())[:-1]).double()
    x = torch.rand(12, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    jacobians = [torch.autograd.functional.jacobian(encoder, p[None])[0].reshape(-1, p.numel()) for p in 4 * x - 2]
    if norm == "linf":
        return max(float(j.abs().sum(1).max()) for j in jacobians)
    return max(float(torch.linalg.svdvals(j)[0]) for j in jacobians)


def add_up(bound: EncoderBound) -> None:
    assert bound.log_value == pytest.approx(sum(t.total for t in bound.terms), abs=1e-9)
    for term in bound.terms:
        assert term.total == pytest.approx(term.structure + term.scale + term.alignment, abs=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 1000), depth=st.integers(1, 4))
@settings(max_examples=12, deadline=None)
def test_no_slope_of_a_random_mlp_exceeds_either_bound(norm: str, seed: int, depth: int) -> None:
    widths = [6, *(3 + (seed * p) % 7 for p in (1, 3, 5, 2)[:depth]), 3]
    model = net(*(normal(h, d, seed=seed + h) for d, h in pairwise(widths)))
    exact, theorem = encoder_bounds(graph_of(model, (6,)), norm)
    assert exact.value is not None
    assert theorem.value is not None
    assert encoder_slope(model, (6,), norm, seed) <= exact.value * (1 + 1e-12)
    assert exact.log_value <= theorem.log_value + 1e-12  # type: ignore[operator]
    add_up(exact)
    add_up(theorem)


@pytest.mark.parametrize("norm", NORMS)
def test_convolutions_and_poolings_stay_sound(norm: str) -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2, 1), nn.Conv2d(5, 3, 2), nn.LeakyReLU(0.1), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(3, 4),
    )  # fmt: skip
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator)
    shape = (2, 8, 8)
    graph = graph_of(model, shape)
    segments = encoder_chain(graph).segments
    # conv - relu - conv | relu, max pool | conv - leaky - average pool: a pair may cross a ReLU, not the max pooling
    assert [s.gate.slopes is not None for s in segments] == [True, False, True, False]
    exact, theorem = encoder_bounds(graph, norm)
    slope = encoder_slope(model.double(), shape, norm, 3)
    for bound in (exact, theorem):
        assert bound.value is not None
        assert slope <= bound.value
        assert {(p.inner, p.outer) for p in bound.pairs} <= {("0", "2"), ("5", "7")}
        assert ("0", "2") in {(p.inner, p.outer) for p in bound.pairs}
        add_up(bound)
    assert exact.log_value <= theorem.log_value + 1e-12  # type: ignore[operator]


@pytest.mark.parametrize("norm", NORMS)
def test_max_pooling_puts_its_overlap_into_the_geometry(norm: str) -> None:
    conv = nn.Conv2d(1, 2, 1)
    plain = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(2 * 25, 3))
    pooled = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(2 * 16, 3))
    without, with_pool = (encoder_bounds(graph_of(m, (1, 5, 5)), norm)[0] for m in (plain, pooled))
    grown = with_pool.log_value - without.log_value  # type: ignore[operator]
    assert grown == pytest.approx(0.0 if norm == "linf" else log(2.0), abs=1e-9)  # 2 x 2 windows share a pixel
    assert with_pool.terms[0].geometry - without.terms[0].geometry == pytest.approx(grown, abs=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_diagonal_nets_have_closed_forms(norm: str) -> None:
    """W_l = diag(w_l): ||W_l|| = max w_l, A = max(a b) / (max a max b), and the head does not count."""
    first, second = torch.tensor([8.0, 1.0, 2.0]).double(), torch.tensor([0.5, 3.0, 2.0]).double()
    model = net(first.diag(), second.diag(), normal(4, 3, seed=0))
    exact, theorem = encoder_bounds(graph_of(model, (3,)), norm, k_fraction=0.5)
    assert exact.value == pytest.approx(4.0, rel=1e-6)  # 8 * 3 * A with A = 4 / 24
    assert exact.pairs[0].status == "exact"
    assert exact.pairs[0].value == pytest.approx(1 / 6, rel=1e-9)
    term = exact.terms[0]
    # k = 2 of |t| = (8, 2, 1): residual 1 / 11, mean of the largest two 5
    assert term.compressibility == pytest.approx(log((10 / 11) / 2), abs=1e-9)
    assert term.spread == pytest.approx(-log(5 / 8), abs=1e-9)
    assert term.scale == pytest.approx(0.5 * log(69.0), abs=1e-9)
    assert term.shape == pytest.approx(log(11 / sqrt(69)), abs=1e-6)
    assert (term.geometry, term.alignment) == (0.0, 0.0)
    assert exact.terms[1].alignment == pytest.approx(log(1 / 6), abs=1e-9)
    # within rows of one entry: k_r = 1, eps_r = 0, bracket sqrt(h k_r); l_2: sqrt(min(h, d)); both sqrt(3)
    assert theorem.terms[0].shape == pytest.approx(0.5 * log(3.0), abs=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_theorem_31_terms_are_the_papers_factors(norm: str) -> None:
    w = normal(7, 5, seed=4)
    theorem = encoder_bounds(graph_of(net(w, normal(2, 7, seed=1)), (5,)), norm, k_fraction=0.4)[1]
    t = w.abs().sum(1) if norm == "linf" else torch.linalg.svdvals(w)
    t = t.sort(descending=True).values
    k = 3 if norm == "linf" else 2
    term = theorem.terms[0]
    assert term.compressibility == pytest.approx(log(float(t[:k].sum() / t.sum()) / k), abs=1e-9)
    assert term.spread == pytest.approx(-log(float(t[:k].mean() / t[0])), abs=1e-9)
    assert term.scale == pytest.approx(log(float(torch.linalg.matrix_norm(w))), abs=1e-9)
    if norm == "l2":
        assert term.shape == pytest.approx(0.5 * log(5), abs=1e-6)
    else:
        rows = (w**2).sort(dim=1, descending=True).values
        tails = [float(((rows[:, k_r:].sum(1)) / rows.sum(1)).max()) ** 0.5 for k_r in range(1, 6)]
        brackets = [sqrt(7 * k_r) + sqrt(7 * (5 - k_r)) * tail for k_r, tail in zip(range(1, 6), tails, strict=True)]
        assert term.shape == pytest.approx(log(min(brackets)), abs=1e-6)


def test_the_choice_of_k_moves_parts_but_not_the_bound() -> None:
    graph = graph_of(net(normal(9, 6, seed=1), normal(8, 9, seed=2), normal(3, 8, seed=3)), (6,))
    for norm in NORMS:
        few, many = (encoder_bounds(graph, norm, k_fraction=f) for f in (0.1, 0.9))
        for a, b in zip(few, many, strict=True):
            assert a.log_value == pytest.approx(b.log_value, abs=1e-9)
        assert few[0].terms[0].spread != pytest.approx(many[0].terms[0].spread, abs=1e-3)


def test_scaling_one_layer_moves_its_scale_alone() -> None:
    first, second, head = normal(9, 6, seed=1), normal(8, 9, seed=2), normal(3, 8, seed=3)
    for norm in NORMS:
        a, b = (encoder_bounds(graph_of(net(first * c, second, head), (6,)), norm)[0] for c in (1.0, 5.0))
        change = encoder_change(a, b)
        assert change.log_change == pytest.approx(log(5.0), abs=1e-7)
        assert change.terms[0].scale == pytest.approx(log(5.0), abs=1e-9)
        rest = [replace(change.terms[0], scale=0.0), *change.terms[1:]]
        parts = [getattr(t, f.name) for t in rest for f in fields(EncoderTerm) if f.name not in ("layer", "norm")]
        assert parts == pytest.approx([0.0] * len(parts), abs=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_changes_of_a_compressed_net_add_up(norm: str) -> None:
    base = build(Recipe("mlp", (12,), 4, {"width": 20, "depth": 3}), seed=0)
    child = factorise(base, {"fc1": 2, "fc3": 3})
    for a, b in zip(
        encoder_bounds(graph_of(base, (12,)), norm), encoder_bounds(graph_of(child, (12,)), norm), strict=True
    ):
        change = encoder_change(a, b)
        assert change.log_change == pytest.approx(b.log_value - a.log_value, abs=1e-12)  # type: ignore[operator]
        assert change.log_change == pytest.approx(sum(t.total for t in change.terms), abs=1e-9)
        assert [t.layer for t in change.terms] == ["fc1", "fc2", "fc3"]
        assert change.unmatched == ()


def test_layers_of_one_net_only_enter_with_their_whole_term() -> None:
    shallow = build(Recipe("mlp", (12,), 4, {"width": 8, "depth": 2}), seed=0)
    deep = build(Recipe("mlp", (12,), 4, {"width": 8, "depth": 3}), seed=1)
    a, b = (encoder_bounds(graph_of(m, (12,)), "l2")[0] for m in (shallow, deep))
    for before, after in ((a, b), (b, a)):
        change = encoder_change(before, after)
        assert change.unmatched == ("fc3",)
        assert change.log_change == pytest.approx(sum(t.total for t in change.terms), abs=1e-9)
    with pytest.raises(
        UsageError, match="needs two bounds of one norm and kind, got l2 exact-norms and linf exact-norms"
    ):
        encoder_change(a, encoder_bounds(graph_of(deep, (12,)), "linf")[0])


def test_alignment_takes_the_best_pairs_and_never_loosens_the_product() -> None:
    weights = [normal(8, 8, seed=s) for s in range(5)]
    for norm in NORMS:
        bound = encoder_bounds(graph_of(net(*weights), (8,)), norm)[0]
        product = sum(t.structure + t.scale for t in bound.terms)
        assert len(bound.pairs) == 2  # four encoder layers
        assert bound.log_value < product  # type: ignore[operator]
        assert {p.inner for p in bound.pairs}.isdisjoint({p.outer for p in bound.pairs})


def test_zero_layers_have_no_logarithm_and_say_so() -> None:
    for norm in NORMS:
        for bound in encoder_bounds(graph_of(net(torch.zeros(4, 3), torch.ones(2, 4)), (3,)), norm):
            assert bound.log_value is None
            assert "is zero: the encoder is constant" in bound.why
        upper, lower = torch.diag(torch.tensor([1.0, 0.0])), torch.diag(torch.tensor([0.0, 1.0]))
        apart = encoder_bounds(graph_of(net(upper, lower, torch.ones(2, 2)), (2,)), norm)[0]
        assert apart.value is None
        assert "nothing passes from 0 to 2" in apart.why


def test_networks_that_are_no_chain_say_what_is_not_covered() -> None:
    residual = build(Recipe("resnet", (3, 8, 8), 4, {}), seed=0)
    exact, theorem = encoder_bounds(graph_of(residual, (3, 8, 8)), "l2")
    assert exact.log_value is theorem.log_value is None
    assert "branches (residual connections" in exact.why
    headless = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    assert "no linear head" in encoder_bounds(graph_of(headless, (3,)), "l2")[0].why
    change = encoder_change(exact, exact)
    assert change.log_change is None
    assert change.why.startswith("base: Theorem 3.2 is about chains")


def test_pairs_too_large_to_write_out_are_named_and_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(net(normal(9, 6, seed=1), normal(8, 9, seed=2), normal(3, 8, seed=3)), (6,))
    monkeypatch.setattr("brittle.bounds.chain._MAX_ENTRIES", 10)
    bound = encoder_bounds(graph, "l2")[0]
    assert bound.pairs == ()
    assert bound.why == "taken as fully aligned, too large to write out: 0 - 2"
    assert bound.log_value is not None


@pytest.mark.parametrize("name", list(CONVOLUTIONS))
def test_window_overlap_bounds_the_map_by_its_structure_matrix(name: str) -> None:
    view = CONVOLUTIONS[name]
    truth = view.spectral_norm().lower
    kernel = float(torch.linalg.svdvals(view.matrix())[0])
    assert truth <= sqrt(window_overlap(view)) * kernel * (1 + 1e-9)


def test_window_overlap_counts_windows() -> None:
    assert window_overlap(CONVOLUTIONS["plain"]) == 9
    assert window_overlap(CONVOLUTIONS["1x1 window"]) == 1
    assert window_overlap(CONVOLUTIONS["stride beyond the window"]) == 1


def test_activation_slopes_enter_the_geometry() -> None:
    weights = (normal(5, 4, seed=1), normal(3, 5, seed=2))
    relu, sigmoid = (
        encoder_bounds(graph_of(net(*weights, activation=a), (4,)), "l2")[0] for a in (nn.ReLU, nn.Sigmoid)
    )
    assert sigmoid.log_value == pytest.approx(relu.log_value + log(0.25), abs=1e-9)  # type: ignore[operator]


def test_risk_slope_is_the_encoder_times_the_widest_pair_of_classes() -> None:
    head = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]).double()
    bounds = {n: encoder_bounds(graph_of(net(torch.eye(2).double(), head), (2,)), n)[0] for n in NORMS}
    assert risk_slope(bounds["l2"], head) == pytest.approx(4.0, rel=1e-6)
    assert risk_slope(bounds["linf"], head) == pytest.approx(4.0, rel=1e-6)
    assert risk_slope(bounds["linf"], head[:2]) == pytest.approx(2.0, rel=1e-6)
    assert risk_slope(replace(bounds["l2"], log_value=None), head) is None
    assert risk_slope(replace(bounds["l2"], log_value=1e4), head) is None


def test_records_survive_json() -> None:
    bound = encoder_bounds(graph_of(net(normal(4, 3, seed=0), normal(4, 4, seed=1), normal(2, 4, seed=2)), (3,)), "l2")[
        0
    ]
    assert from_dict(EncoderBound, to_dict(bound)) == bound


def test_bad_shares_are_refused() -> None:
    with pytest.raises(UsageError, match="k needs a fraction in"):
        encoder_bounds(graph_of(net(normal(4, 3, seed=0), normal(2, 4, seed=2)), (3,)), "l2", k_fraction=0.0)


def test_theorem_31_of_a_convolution_pays_for_overlapping_windows_in_l2_only() -> None:
    conv = nn.Conv2d(2, 3, 3, padding=1)
    graph = graph_of(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 2)), (2, 6, 6))
    term = encoder_bounds(graph, "l2")[1].terms[0]
    assert term.geometry == pytest.approx(log(3.0))  # nine windows touch an inner pixel
    assert term.shape == pytest.approx(0.5 * log(3.0), abs=1e-6)
    assert encoder_bounds(graph, "linf")[1].terms[0].geometry == 0.0
