"""`brittle compress` as a user types it: files, numbers, page, gate, time limit, what reaches the run."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from brittle.cli.app import run
from brittle.cli.shares import parse_share, parse_shares
from brittle.data.load import load_data
from brittle.delivery.clock import Clock
from brittle.errors import UsageError
from brittle.models.file import load, read_marks
from brittle.results.compression import CompressionResult
from brittle.results.serialise import read_json

Captured = pytest.CaptureFixture[str]
BASE = ("compress", "base.safetensors", "--keep", "0.25", "--out", "c.safetensors")
QUICK = ("--method", "magnitude", "--epsilon", "0.05", "--finetune", "1", "--samples", "60", "--evidence", "60")


def compressed(*arguments: str, code: int = 0) -> CompressionResult:
    assert run([*BASE, *QUICK, *arguments, "--json", "c.json"]) == code
    return CompressionResult.from_dict(read_json("c.json"))


def test_weights_numbers_and_page_are_written_and_nothing_else(work: Path, capsys: Captured) -> None:
    before = {path.name for path in work.iterdir()}
    result = compressed("--html", "c.html")
    assert {path.name for path in work.iterdir()} - before == {"c.safetensors", "c.json", "c.html"}
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "As many parameters, 25.0% of them not zero; clean accuracy" in printed.err
    assert "weights: c.safetensors" in printed.err
    assert "report: c.html" in printed.err
    assert result.settings.command == " ".join(["brittle", *BASE, *QUICK, "--html", "c.html", "--json", "c.json"])
    page = Path("c.html").read_text()
    assert "brittle: base.safetensors → c.safetensors" in page
    assert result.child_size.file_bytes == Path("c.safetensors").stat().st_size
    assert (result.parent.name, result.child.name) == ("base.safetensors", "c.safetensors")
    assert "gate" not in page.partition("<main")[2].partition("</main")[0]
    assert read_marks("c.safetensors")["gate"] == "none"


def test_the_file_is_the_network_that_was_measured_and_can_be_audited(work: Path) -> None:
    result = compressed()
    test = load_data("digits").split("test").take(60, 0)
    with torch.no_grad():
        right = load("c.safetensors")(test.x).argmax(1) == test.y
    assert result.after is not None
    assert float(right.double().mean()) == result.after.clean
    audit = ("audit", "c.safetensors", "--against", "base.safetensors", "--norm", "linf", "--epsilon", "0.05")
    assert run([*audit, "--samples", "60", "--effort", "quick", "--json", "a.json"]) == 0
    audited = read_json("a.json")
    (pair,) = audited["comparison"]["paired"]
    assert pair["drop_points"] == pytest.approx(result.drops[1].points)
    assert audited["verdict"]["brittle"] == (None if result.verdict is None else result.verdict.brittle)


def test_json_on_stdout_is_all_there_is_on_stdout(work: Path, capsys: Captured) -> None:
    assert run([*BASE, *QUICK, "--finetune", "0", "--json", "-"]) == 0
    assert CompressionResult.from_dict(json.loads(capsys.readouterr().out)).asked.finetune == 0


def test_every_option_reaches_the_run(work: Path) -> None:
    result = compressed(
        "--robust", "--norm", "l2", "--epsilon", "0.4", "0.2", "--finetune", "7", "--recover", "trades", "--penalty",
        "l1=0.0001", "--penalty", "nuclear=0.00001", "--flatten", "0.3", "--orthonormal", "9", "--sweep", "1/2",
        "--max-drop", "98", "--samples", "50", "--evidence", "40", "--effort", "quick", "--batch-size", "32",
        "--seed", "3", "--device", "cpu", "--time-limit", "1000",
    )  # fmt: skip
    a = result.asked
    assert (a.method, a.keep, a.robust, a.norm, a.epsilon, a.defended) == (
        "magnitude",
        0.25,
        True,
        "l2",
        (0.05, 0.2, 0.4),
        0.05,
    )
    assert (a.finetune, a.recover, a.penalties) == (7.0, "trades", {"l1": 0.0001, "nuclear": 0.00001})
    assert (a.flatten, a.orthonormal, a.sweep) == (0.3, 9.0, (0.5,))
    assert result.gate is not None
    assert (result.gate.max_drop, result.gate.held) == (98.0, True)
    assert (result.data.samples, result.fitted.evidence, result.settings.batch_size, result.seed) == (50, 40, 32, 3)
    assert (result.settings.effort, result.settings.device) == ("quick", "cpu")
    assert Path("c-0.5.safetensors").is_file()
    assert result.after is not None
    assert {row.norm for row in result.after.robust} == {"l2"}


def test_a_gate_that_fails_is_exit_1_and_the_file_is_written_and_marked(work: Path, capsys: Captured) -> None:
    result = compressed("--keep", "0.03", "--finetune", "0", "--max-drop", "5", "--html", "c.html", code=1)
    assert result.gate is not None
    assert not result.gate.held
    assert read_marks("c.safetensors")["gate"] == "exceeded"
    load("c.safetensors")
    assert "gate failed" in Path("c.html").read_text()
    assert "the gate failed: accuracy fell by more than --max-drop" in capsys.readouterr().err


def test_no_time_is_exit_3_and_writes_nothing(work: Path, capsys: Captured) -> None:
    before = {path.name for path in work.iterdir()}
    assert run([*BASE, *QUICK, "--time-limit", "0.000001", "--json", "c.json"]) == 3
    assert {path.name for path in work.iterdir()} == before
    assert "stopped at the time limit before there was a smaller network" in capsys.readouterr().err


def test_a_partial_result_is_written_marked_and_exit_3(
    work: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "start", staticmethod(lambda limit: Clock(None, 0.0)))
    result = compressed("--max-drop", "1", "--html", "c.html", code=3)
    assert result.partial
    assert read_marks("c.safetensors")["partial"] == "yes"
    assert "Stopped at the time limit" in Path("c.html").read_text()
    assert "the numbers above are partial and marked" in capsys.readouterr().err


def test_the_same_command_goes_on_from_its_folder(work: Path) -> None:
    first = compressed("--resume", "state")
    weights = load("c.safetensors").state_dict()
    Path("c.safetensors").unlink()
    again = compressed("--resume", "state")
    assert all(torch.equal(weights[name], value) for name, value in load("c.safetensors").state_dict().items())
    assert again.recovery == first.recovery
    assert again.after == first.after


def test_auto_from_zoo_weights(work: Path) -> None:
    net = load("base.safetensors")
    torch.save(net.state_dict(), "base.pt")
    widths = ",".join(str(net.get_submodule(name).out_features) for name in ("fc1", "fc2"))
    arguments = ("compress", f"zoo:mlp?widths={widths}", "--weights", "base.pt", "--keep", "1/4", "--finetune", "0")
    assert run([*arguments, "--samples", "40", "--evidence", "60", "--out", "c.safetensors", "--json", "c.json"]) == 0
    result = CompressionResult.from_dict(read_json("c.json"))
    assert result.parent.name == "base.pt"
    assert 0.97 * 0.25 <= result.child_size.parameters / result.parent_size.parameters <= 0.25
    assert result.prediction is not None


def test_a_file_of_the_same_name_elsewhere_is_told_apart(work: Path) -> None:
    Path("out").mkdir()
    assert (
        run(
            [
                "compress",
                "base.safetensors",
                "--keep",
                "0.5",
                "--out",
                "out/base.safetensors",
                *QUICK,
                "--json",
                "c.json",
            ]
        )
        == 0
    )
    result = CompressionResult.from_dict(read_json("c.json"))
    assert (result.parent.name, result.child.name) == ("base.safetensors (parent)", "base.safetensors")


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")), reason="needs brittle[onnx]"
)
def test_onnx_is_written_and_checked(work: Path) -> None:
    import onnxruntime

    result = compressed("--onnx", "c.onnx")
    assert any(note.startswith("c.onnx: the outputs of the ONNX file differ") for note in result.notes)
    x = load_data("digits").split("test").x[:7]
    (logits,) = onnxruntime.InferenceSession("c.onnx").run(None, {"pixels": x.numpy()})
    assert torch.allclose(torch.from_numpy(logits), load("c.safetensors")(x), atol=1e-4)


def test_shares_are_numbers_or_fractions() -> None:
    assert parse_share("--keep", "0.125") == parse_share("--keep", " 1/8 ") == 0.125
    assert parse_shares("--sweep", "1/2, 0.25,") == (0.5, 0.25)
    for text, message in (
        ("a", "expected a share such as"),
        ("1/0", "expected a share"),
        ("2", "got 2"),
        ("nan", "got nan"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_share("--keep", text)
    with pytest.raises(UsageError, match="--sweep names no share: expected some such as"):
        parse_shares("--sweep", " , ")
