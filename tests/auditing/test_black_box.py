"""Models without gradients: attacked from their parent and by queries, and the audit says so."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import brittle
from brittle.attacks.square import Square
from brittle.attacks.surrogate import FromSurrogate
from brittle.auditing.black_box import NO_GRADIENTS, black_box_attacks, fair_verdict, read_black_box, without_gradients
from brittle.evaluation.masking_black_box import black_box_signs
from brittle.models.black_box import BlackBox, OneByOne
from brittle.models.export.onnx import export_onnx
from brittle.models.load import load_model
from brittle.results.audit import Audit, Verdict
from brittle.threats import ball
from tests.auditing.made import SHAPE, relu_net, samples

X, Y = samples(40)
THREAT = ball("linf", 0.1)


def closed(net: nn.Module) -> nn.Module:
    """The same network behind a wall: logits only."""

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            return net(x)  # type: ignore[no-any-return]

    return BlackBox(run, {"fc1": net.get_submodule("fc1"), "head": net.get_submodule("head")}, {})


def audited(model: nn.Module, against: nn.Module | None = None, effort: str = "quick") -> Audit:
    return brittle.audit(
        model, (X, Y), against=against, norm="linf", epsilon={"linf": 0.1}, effort=effort, batch_size=16, directions=2
    )


@cache
def white() -> Audit:
    return audited(relu_net())


@cache
def child() -> Audit:
    return audited(closed(relu_net()), relu_net())


def test_a_closed_copy_of_the_parent_falls_to_the_parents_examples() -> None:
    (row,), (open_row,) = child().robustness, white().robustness
    assert row.steps[0].attack == "transfer-worst-ce-20"
    assert row.steps[-1].attack == "square-300"
    assert row.attacked <= open_row.attacked + 0.05
    assert row.certified == 0.0


def test_the_preflight_says_what_took_the_place_of_gradients() -> None:
    (check,) = [check for check in child().preflight if check.check == NO_GRADIENTS]
    assert check.verdict == "warning"
    assert "transfer-worst-ce-20, transfer-worst-margin-20, square-300 take the place" in check.advice
    assert "Certificates, directions, universal perturbations and radii are not measured" in check.advice
    assert without_gradients(child())
    assert not without_gradients(white())
    assert [layer.name for layer in child().layers] == ["fc1", "head"]
    (why,) = [check.advice for check in child().preflight if check.check == "global constants"]
    assert "it runs outside torch" in why


def test_without_a_parent_queries_alone_attack_and_the_remedy_is_told() -> None:
    audit = audited(closed(relu_net()))
    assert audit.robustness[0].attack == "square-300"
    (advice,) = [check.advice for check in audit.preflight if check.check == NO_GRADIENTS]
    assert "as --against, its examples are tried" in advice


@pytest.mark.slow
def test_the_later_stages_of_longer_audits_are_left_out() -> None:
    audit = audited(closed(relu_net()), relu_net(), effort="standard")
    assert not audit.partial
    assert (audit.directions, audit.universal, audit.radii, audit.explained, audit.gaps) == ({}, (), (), (), ())
    assert audit.comparison is not None
    assert audit.comparison.transfer == ()


def test_a_base_without_gradients_is_no_surrogate() -> None:
    attacks = black_box_attacks("quick", closed(relu_net()), X, Y, dtype=torch.float32, device="cpu")
    assert attacks == (Square(queries=300),)


def test_surrogates_are_told_apart_by_their_weights() -> None:
    first, second = (
        black_box_attacks("quick", relu_net(seed=seed), X, Y, dtype=torch.float32, device="cpu")[0] for seed in (0, 1)
    )
    assert isinstance(first, FromSurrogate)
    assert repr(first) != repr(second)
    assert "Linear" not in repr(first)


def test_examples_of_a_surrogate_do_not_ask_the_model() -> None:
    attack = FromSurrogate(relu_net(), "parent")
    made = attack(nn.Identity(), X[:5], Y[:5], THREAT, indices=torch.arange(5), seed=0)
    assert float((made - X[:5]).abs().max()) <= 0.1
    assert torch.equal(made, attack.attack(relu_net(), X[:5], Y[:5], THREAT, indices=torch.arange(5), seed=0))
    assert attack.cost == attack.attack.cost


@pytest.mark.parametrize(
    ("mine", "theirs", "before", "after"),
    [
        (True, False, False, None),
        (True, False, True, True),
        (False, True, True, None),
        (False, True, False, False),
        (True, True, False, False),
        (False, False, True, True),
    ],
)
def test_a_verdict_claims_no_more_than_attacks_of_unlike_strength_allow(
    mine: bool, theirs: bool, before: bool, after: bool | None
) -> None:
    note = tuple(check for check in child().preflight if check.check == NO_GRADIENTS)
    audit = replace(white(), preflight=note if mine else (), verdict=Verdict(before, ("why",), 2.0))
    base = replace(white(), preflight=note if theirs else ())
    got = fair_verdict(audit, base).verdict
    assert got is not None
    assert got.brittle is after
    assert ("without gradients" in got.why[-1]) == (after is not before)


def test_a_dynamically_quantised_network_of_torch_is_audited_one_sample_at_a_time() -> None:
    parent = relu_net()
    small = nn.Sequential(nn.Flatten(), parent.get_submodule("fc1"), nn.ReLU(), parent.get_submodule("head")).eval()
    try:
        int8 = torch.ao.quantization.quantize_dynamic(small, {nn.Linear}, dtype=torch.qint8)
    except (AttributeError, RuntimeError) as error:
        pytest.skip(f"this torch does not quantise: {error}")
    audit = audited(OneByOne(int8), parent)
    assert audit.robustness[0].steps[0].attack == "transfer-worst-ce-20"
    assert abs(audit.robustness[0].attacked - white().robustness[0].attacked) <= 0.1
    assert [(row.name, row.shape) for row in audit.unmeasured] == [
        ("model.1.weight", (6, 16)),
        ("model.3.weight", (3, 6)),
    ]
    assert "packed integers" in audit.unmeasured[0].why


def test_what_holds_no_parameters_is_read_as_such() -> None:
    network = read_black_box(BlackBox(relu_net(), {}, {}), SHAPE)
    assert network.layers == ()
    assert network.why == "it has no parameters that can be read"


class _Nothing:
    """An attack that does nothing."""

    name, cost = "nothing", 1

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: object, *, indices: Tensor, seed: int) -> Tensor:
        return x


def test_a_weak_attack_is_noticed_and_a_working_one_is_not_accused() -> None:
    weak = black_box_signs(relu_net(), X, Y, THREAT, _Nothing(), batch_size=16, seed=0)
    assert [check.verdict for check in weak] == ["warning", "warning"]
    good = black_box_signs(relu_net(), X, Y, THREAT, Square(queries=200), batch_size=16, seed=0)
    assert [check.verdict for check in good] == ["ok", "ok"]


@pytest.mark.parametrize("int8", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_command_line_audits_an_onnx_child_against_its_parent(tmp_path: Path, int8: bool) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is an extra: pip install 'brittle[onnx]'")
    from brittle.cli.session import AuditRequest, run_audits
    from tests.auditing.made import OPTIONS

    brittle.save(relu_net(), tmp_path / "parent.safetensors")
    place = tmp_path / "child.onnx"
    export_onnx(relu_net(), place, SHAPE)
    if int8:
        tool = pytest.importorskip("onnxruntime.quantization", reason="onnxruntime's quantiser is not there")
        place = tmp_path / "int8.onnx"
        tool.quantize_dynamic(str(tmp_path / "child.onnx"), str(place))
    import numpy as np

    np.savez(tmp_path / "data.npz", x_test=X.numpy(), y_test=Y.numpy())
    request = AuditRequest(
        (f"onnx:{place}",), (), str(tmp_path / "parent.safetensors"), None, f"npz:{tmp_path / 'data.npz'}", tmp_path, ""
    )
    base, got = run_audits(request, OPTIONS, None)
    assert got.robustness[0].steps[0].attack == "transfer-worst-ce-20"
    assert got.comparison is not None
    assert got.verdict is not None
    assert got.verdict.brittle is not False
    assert got.robustness[0].attacked <= base.robustness[0].attacked + 0.1
    assert json.loads(json.dumps([check.check for check in got.preflight])).count(NO_GRADIENTS) == 1
    again = run_audits(request, OPTIONS, None)[1]  # from the folder
    assert again.outcomes == got.outcomes


def test_front_doors_of_black_boxes_are_listed() -> None:
    with pytest.raises(brittle.BrittleError, match="onnx:, export:"):
        load_model("nonsense")
