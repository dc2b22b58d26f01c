"""Transformers of other packages: every weight matrix is a layer or listed with a reason, counted independently."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import brittle
from brittle.operators.network import Network, read_network
from tests.operators.hub_models import SMALL, Made, timm_vit, torchvision_vit
from tests.vision import need_timm, need_torchvision


def _sizes(model: nn.Module) -> dict[str, int]:
    return {name: p.numel() for name, p in model.named_parameters()}


def _check_counts(model: nn.Module, network: Network) -> None:
    sizes = _sizes(model)
    outside = [*network.folded, *(row.name for row in network.unmeasured)]
    assert len(outside) == len(set(outside))
    measured = sum(layer.parameters for layer in network.layers)
    assert measured + sum(sizes[name] for name in outside) == sum(sizes.values())
    assert all(row.why for row in network.unmeasured)
    names = [layer.name for layer in network.layers]
    assert len(names) == len(set(names))


def _check_matrices(model: nn.Module, network: Network) -> None:
    """Every matrix that a module multiplies with occurs among the layers, entry by entry, once."""
    seen: set[int] = set()
    matrices = {layer.name: layer.view.matrix() for layer in network.layers}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding) or id(module.weight) in seen:
            continue
        seen.add(id(module.weight))
        whole = module.weight.detach().double().flatten(1)
        parts = [m for key, m in matrices.items() if key == name or key.rpartition(".")[0] == name]
        assert parts, name
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_counts_and_matrices_without_an_input_size(name: str) -> None:
    model, _ = SMALL[name]()
    network = read_network(model, None)
    _check_counts(model, network)
    _check_matrices(model, network)
    for row in network.unmeasured:
        parameter = model.get_parameter(row.name)
        told = any(word in row.why for word in ("token", "positions", "biases"))
        assert parameter.dim() < 2 or parameter.numel() == max(parameter.shape) or told, row


@pytest.mark.parametrize("name", ["torchvision ViT", "timm ViT", "timm Swin", "HF ViT"])
def test_counts_and_norms_of_traced_image_models(name: str) -> None:
    model, shape = SMALL[name]()
    network = read_network(model, shape)
    assert network.graph is not None
    _check_counts(model, network)
    bare = read_network(model, None)
    assert {layer.name for layer in network.layers} == {layer.name for layer in bare.layers}
    assert all(layer.on_input for layer in network.layers)
    # New models have gains of 1: folding changes nothing, and what it can join is all of them but Swin's merged ones.
    ours = {layer.name: layer.view.matrix() for layer in bare.layers}
    for layer in network.layers:
        assert torch.equal(layer.view.matrix(), ours[layer.name])
    left = {row.name for row in network.unmeasured if "norm" in row.name}
    assert left == ({"patch_embed.norm.weight", "patch_embed.norm.bias"} if name == "timm Swin" else set())


SPLIT = {
    "torchvision ViT": ("encoder.layers.encoder_layer_0.self_attention.in_proj.", 2, "out_proj"),
    "timm ViT": ("blocks.0.attn.qkv.", 3, "proj"),
    "timm Swin": ("layers.1.blocks.0.attn.qkv.", 2, "proj"),
    "HF ViT": ("net.vit.layers.0.attention.", 2, "o_proj"),
    "HF BERT": ("bert.encoder.layer.0.attention.self.", 2, None),
    "HF CLIP": ("text_model.encoder.layers.0.self_attn.", 2, "out_proj"),
    "HF GPT-2": ("transformer.h.0.attn.c_attn.", 2, "c_proj"),
    "HF Mixtral": ("model.layers.0.self_attn.", 2, "o_proj"),
}


@pytest.mark.parametrize("name", SPLIT)
def test_queries_keys_and_values_stand_apart_with_their_heads(name: str) -> None:
    prefix, heads, projection = SPLIT[name]
    rows = {row.name: row for row in brittle.structure(SMALL[name]()[0])}
    for letter, word in zip("qkv", ("query", "key", "value"), strict=True):
        row = next(rows[prefix + form] for form in (letter, f"{letter}_proj", word) if prefix + form in rows)
        wanted = heads // 2 if name == "HF Mixtral" and letter != "q" else heads
        assert len(row.heads) == wanted
        assert sum(head.frobenius**2 for head in row.heads) == pytest.approx(row.frobenius**2)
    if projection is not None:
        parent = (
            prefix.removesuffix(".").rpartition(".")[0] + "." if prefix.endswith(("qkv.", "proj.", "attn.")) else ""
        )
        found = [row for key, row in rows.items() if key in (prefix + projection, parent + projection)]
        assert [len(row.heads) for row in found] == [heads]


def test_experts_and_their_router_are_matrices_with_neurons_as_rows() -> None:
    for name in ("HF Mixtral", "HF gpt-oss"):
        layers = {layer.name: layer for layer in read_network(SMALL[name]()[0], None).layers}
        up = [layer for key, layer in layers.items() if ".experts.gate_up_proj." in key]
        down = [layer for key, layer in layers.items() if ".experts.down_proj." in key]
        assert [tuple(layer.view.matrix().shape) for layer in up] == [(64, 16)] * 3
        assert [tuple(layer.view.matrix().shape) for layer in down] == [(16, 32)] * 3
        (router,) = [layer for key, layer in layers.items() if key.endswith((".gate", ".router"))]
        assert tuple(router.view.matrix().shape) == (3, 16)


def test_tied_weights_are_one_layer() -> None:
    bert = read_network(SMALL["HF BERT"]()[0], None)
    words = {layer.name: layer.parameters for layer in bert.layers}
    assert words["bert.embeddings.word_embeddings"] == 40 * 16 + 40  # with the output layer's shift
    assert not any("decoder" in name for name in words)
    gpt = {layer.name for layer in read_network(SMALL["HF GPT-2"]()[0], None).layers}
    assert "transformer.wte" in gpt
    assert "lm_head" not in gpt


def test_the_ladder_of_a_foreign_vit_says_why_and_its_jacobian_is_a_lower_rung() -> None:
    model, shape = timm_vit()
    for norm in ("linf", "l2"):
        (rung,) = brittle.lipschitz(model, norm, shape)
        assert rung.value is None
        assert "dot-product attention has no global Lipschitz constant" in rung.assumes
        assert "not covered" not in rung.assumes
    x = torch.rand(8, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    audit = brittle.audit(model, (x, y), samples=8, effort="quick", directions=0, epsilon={"l2": 0.5})
    product, jacobian = audit.bounds["l2"].ladder
    assert (product.value, jacobian.status) == (None, "lower_bound")
    _check_local_slope(model, x, jacobian.value)
    assert 0 <= audit.robustness[0].attacked <= audit.robustness[0].clean == 1
    assert len(audit.layers) == 1 + 2 * 6 + 1
    assert {row.name for row in audit.unmeasured} == {"cls_token"}


IMAGE_SHAPE = (3, 32, 32)


def _check_local_slope(model: nn.Module, x: Tensor, value: float | None) -> None:
    """The largest spectral norm of the Jacobians, by finite differences along the leading singular vector."""
    assert value is not None
    largest = 0.0
    twin = model.double()
    for point in x.double():
        jacobian = torch.autograd.functional.jacobian(lambda v: twin(v.view(1, *IMAGE_SHAPE))[0], point.flatten())
        v = torch.linalg.svd(jacobian, full_matrices=False).Vh[0].view(1, *IMAGE_SHAPE)
        step = (twin(point + 1e-4 * v) - twin(point - 1e-4 * v)) / 2e-4
        largest = max(largest, float(step.norm()))
    assert value == pytest.approx(largest, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "head"), [(timm_vit, "head"), (torchvision_vit, "heads.head")], ids=["timm", "torchvision"]
)
def test_directions_of_a_foreign_vit_are_those_of_its_jacobians(make: Callable[[], Made], head: str) -> None:
    """The leading direction against the stacked Jacobians of what the head reads, on the fitted (even) samples."""
    model, shape = make()
    assert shape is not None
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(1))
    _, vectors = brittle.sensitive_directions(model, x, k=1)
    twin, read = model.double(), []
    twin.get_submodule(head).register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0]))

    def features(flat: Tensor) -> Tensor:
        twin(flat.view(1, *IMAGE_SHAPE))
        return read[-1][0]

    jacobians = [torch.autograd.functional.jacobian(features, point.flatten()) for point in x[::2].double()]
    leading = torch.linalg.svd(torch.cat(jacobians), full_matrices=False).Vh[0]
    assert abs(float(vectors[0].flatten().double() @ leading)) > 0.98


def _real(name: str) -> nn.Module:
    need_torchvision()
    if name == "vit_b_16":
        from torchvision.models import vit_b_16

        return vit_b_16(weights=None)
    if name in ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"):
        need_timm()
        import timm

        return timm.create_model(name)
    transformers = pytest.importorskip("transformers")
    if name == "BERT":
        return transformers.BertModel(transformers.BertConfig())
    return transformers.CLIPModel(transformers.CLIPConfig())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "matrices"),
    [
        ("vit_b_16", 1 + 12 * 6 + 1),
        ("vit_tiny_patch16_224", 1 + 12 * 6 + 1),
        ("swin_tiny_patch4_window7_224", 1 + 12 * 6 + 3 + 1),
        ("BERT", 3 + 12 * 6 + 1),
        ("CLIP", 2 + 12 * 6 + 2 + 12 * 6 + 2),
    ],
)
def test_real_sizes(name: str, matrices: int) -> None:
    model = _real(name).eval()
    network = read_network(model, None)
    _check_counts(model, network)
    _check_matrices(model, network)
    assert len(network.layers) == matrices
