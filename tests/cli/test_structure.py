"""`brittle audit` of checkpoints without a recipe, as a user types it."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import torch

from brittle.cli.app import run
from brittle.models.file import save
from brittle.models.recipe import Recipe, build
from brittle.results.serialise import read_json
from brittle.results.structure import StructureAudit
from tests.checkpoints.made import normal, write, write_shards


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shards = {f"{i}.safetensors": {f"layers.{i}.up.weight": normal(30, 20, seed=i).bfloat16()} for i in range(3)}
    write_shards(tmp_path / "base", shards)
    cut = dict(shards["1.safetensors"])
    cut["layers.1.up.weight"] = cut["layers.1.up.weight"].clone()
    cut["layers.1.up.weight"][:, 10:] = 0
    write_shards(tmp_path / "child", {**shards, "1.safetensors": cut})
    write(tmp_path / "one.safetensors", {"fc.weight": normal(30, 20, seed=0), "fc.bias": torch.zeros(30)})
    model = build(Recipe("mlp", (1, 8, 8), 10, {"widths": [4]}), seed=0)
    save(model, tmp_path / "runs.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_file_to_every_output(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "one.safetensors", "--json", "-", "--html", "r.html"]) == 0
    out, err = capfd.readouterr()
    values = json.loads(out)
    schema = json.loads((files("brittle") / "schema" / "structure-1.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(values)
    assert values["schema"] == "brittle.structure/1"
    assert [row["name"] for row in values["matrices"]] == ["fc"]
    assert values["settings"]["command"] == "brittle audit one.safetensors --json - --html r.html"
    assert "1 matrix measured: 95.2% of the numbers in one.safetensors" in err
    assert "says nothing about robustness" in " ".join(err.split())
    assert "Not measured: 1 tensor" in err
    assert (work / "r.html").read_text().startswith("<!doctype html>")


def test_shards_against_a_base_with_resume_and_workers(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["audit", "child", "--against", "base", "--effort", "quick", "--resume", "kept", "--json", "a.json"]
    assert run(command) == 0
    err = capfd.readouterr().err
    assert "Largest changes from base" in err
    audit = StructureAudit.from_dict(read_json(work / "a.json"))
    assert audit.comparison is not None
    assert audit.comparison.changes[0].name == "layers.1.up"
    assert (audit.settings.probes, audit.settings.steps) == (8, 24)
    assert len(list((work / "kept").iterdir())) == 6
    assert run([*command, "--workers", "2"]) == 0
    assert "child: matrices: 3 of 3" in capfd.readouterr().err


def test_the_saved_result_becomes_a_page(work: Path) -> None:
    assert run(["audit", "child", "--json", "a.json", "--html", "a.html"]) == 0
    assert run(["report", "a.json", "--html", "b.html"]) == 0
    assert (work / "a.html").read_bytes() == (work / "b.html").read_bytes()


def test_the_time_limit_is_exit_code_3(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "child", "--time-limit", "1e-9", "--json", "a.json"]) == 3
    assert "stopped at the time limit; matrices not reached are listed" in " ".join(capfd.readouterr().err.split())
    assert read_json(work / "a.json")["partial"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("child", "--epsilon", "0.1", "--samples", "5"),
         "child has no recipe: name its architecture, .* --weights child, or leave --epsilon, --samples out"),
        (("child", "--data", "digits"), "or leave --data out and its structure alone is audited"),
        (("child", "--against", "base", "--max-drop", "2"), "or leave --max-drop out"),
        (("child", "base"), "one checkpoint at a time, got 2: give one MODEL"),
        (("child", "--effort", "heroic"), "unknown effort 'heroic': expected one of quick, standard, thorough"),
        (("child", "--workers", "0"), "workers must be a whole number of 1 or more, got 0"),
        (("child", "--k", "2"), r"k must be a fraction in \(0, 1\]"),
        (("child", "--html", "a", "--json", "./a"), "would go to one file: give --html and --json different names"),
        (("child", "--json", "no/a.json"), "choose a folder that exists and is writable"),
        (("child", "--resume", "one.safetensors"), "no writable folder; choose another place"),
        (("child", "--against", "no.safetensors"), "no such file: no.safetensors"),
        (("runs.safetensors", "--workers", "2"), "--workers reads checkpoints without a recipe: leave it out"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    work: Path, arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import re

    before = sorted(work.rglob("*"))
    assert run(["audit", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r"brittle: [^\n]+\n", err), err
    assert re.search(said, err), err
    assert sorted(work.rglob("*")) == before


def test_options_from_a_file_do_not_stand_in_the_way(work: Path) -> None:
    (work / "brittle.toml").write_text('norm = "linf"\nseed = 4\n')
    assert run(["audit", "child", "--config", "brittle.toml", "--json", "a.json"]) == 0
    assert read_json(work / "a.json")["seed"] == 4
