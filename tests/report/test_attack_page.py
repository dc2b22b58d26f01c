"""The attack report: every number of a made result, and pages from saved results by `brittle report`."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from brittle.cli.app import run
from brittle.report.attack_page import attack_headline, render_attack, write_attack_html
from brittle.report.attack_rows import attack_tables
from brittle.report.attack_terminal import attack_table
from brittle.report.embed import static
from brittle.results.attack import ATTACK_SCHEMA, AttackResult, Attempt
from brittle.results.audit import Check, DataInfo, ModelInfo, Settings
from brittle.results.directions import Confined, Explained
from brittle.results.perturbations import RadiusCurve, Transfer, Universal
from brittle.results.robustness import AttackStep, Outcomes
from brittle.results.serialise import dumps
from tests.made_audits import made_audits
from tests.made_compression import made_compression
from tests.report.test_training_page import made_history

PNG = "data:image/png;base64,iVBORw0KGgo="


def made_explained() -> Explained:
    curve = (Confined(4, 0.7, 0.471, (0.4, 0.5), 0.8, 0.083, None),)
    return Explained(
        norm="linf", epsilon=0.05, map="margin", box=True, n=100, clean=0.9, attacked=0.5, overlap=(0.5,),
        overlap_random=0.1, curve=curve, m_for_90=None,
    )  # fmt: skip


def made_attack() -> AttackResult:
    steps = (AttackStep("pgd-20", 0.613), AttackStep("apgd-50", 0.587))
    return AttackResult(
        schema=ATTACK_SCHEMA, brittle="0.1.0", seed=5, model=ModelInfo("<b>net</b>", 4321, {"architecture": "mlp"}),
        data=DataInfo("digits", "test", 517, "ef" * 32, ("0", "1")),
        preflight=(Check("fine", "ok", "nothing"), Check("number format", "warning", "rounded in `float32`")),
        attacks=("pgd", "apgd"),
        attempts=(Attempt("linf", 0.05, 517, 0.913, 0.587, (0.544, 0.629), 0.902, steps),),
        radii=(RadiusCurve("l2", "deepfool", 3, (0.1, 0.2, None), {"0.1": 0.111, "0.5": 0.222, "0.9": None}),),
        universal=(
            Universal("linf", 0.1, 0.341, True, "ascent", 250, (0.29, 0.39), 0.051, 0.91, 0.64, 500, "seven", PNG),
            Universal("linf", 0.2, 0.442, True, png="https://example.org/x.png"),
        ),
        directions={},
        explained=(made_explained(),),
        transfer=(Transfer("examples", "linf", 0.05, "other", "net", 517, 0.91, 0.823, (0.78, 0.85), 0.271),),
        outcomes=Outcomes({"clean": "1"}, (1,)),
        settings=Settings("brittle attack net.safetensors", "quick", 64, "float32", "cpu", "2.13.0", 12.0),
    )  # fmt: skip


def text(page: str) -> str:
    page = page.replace(str(static("report.css")), "")
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ").split())


def test_every_number_is_on_the_page_and_on_the_terminal() -> None:
    console = Console(file=StringIO(), width=160)
    console.print(attack_table(made_attack()))
    assert isinstance(console.file, StringIO)
    shown = " ".join(console.file.getvalue().split())
    words = text(render_attack(made_attack(), title="an attack"))
    for part in (
        "91.3%", "90.2%", "61.3%", "58.7% [54.4, 62.9]", "0.111", "0.222", "34.1% [29.0, 39.0]", "5.1%",
        "91.0% → 64.0%", "47.1% [40.0, 50.0]", "8.3%", "82.3% [78.0, 85.0]", "27.1%", "rounded in",
    ):  # fmt: skip
        assert part in words, part
        assert part in shown, part
    for part in ("4,321 parameters", "517 samples", "ef" * 32, "brittle attack net.safetensors", "seed 5"):
        assert part in words, part


def test_names_are_escaped_and_only_inline_pictures_reach_the_page() -> None:
    page = render_attack(made_attack(), title="an attack")
    assert "<b>net</b>" not in page
    assert page.count("<img") == 1
    assert PNG in page
    assert "example.org" not in page


def test_what_was_not_run_has_no_section() -> None:
    bare = replace(made_attack(), attempts=(), universal=(), explained=(), transfer=(), partial=True)
    page = render_attack(bare, title="an attack")
    assert re.findall(r'<section id="(\w+)"', page) == ["outcome", "radii", "reproduce"]
    assert re.findall(r'<span class="number">(\d)', page) == ["1", "2", "3"]
    assert "Stopped at the time limit" in page
    assert attack_headline(bare) == "2 attacks on <b>net</b>"
    assert [table.name for table in attack_tables(bare)] == ["radii"]


def test_the_headline_says_what_is_left() -> None:
    assert attack_headline(made_attack()) == "Of 91.3% clean accuracy at most 58.7% at ℓ∞ ε = 0.05 is left under attack"


def test_a_page_is_written(tmp_path: Path) -> None:
    assert write_attack_html(tmp_path / "a.html", made_attack(), title="an attack").read_text().startswith("<!doctype")


SAVED = {
    "attack.json": (made_attack, "attack report"),
    "compression.json": (made_compression, "compression report"),
    "training.json": (made_history, "training report"),
    "audit.json": (lambda: made_audits()[1], "robustness report"),
}


@pytest.mark.parametrize("name", SAVED)
def test_every_saved_result_becomes_its_page(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make, brand = SAVED[name]
    Path(name).write_text(dumps(make()))
    assert run(["report", name, "--html", "page.html"]) == 0
    assert f"<span>{brand}</span>" in Path("page.html").read_text()


def test_only_audits_share_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(dumps(made_audits()[1]))
    Path("c.json").write_text(dumps(made_compression()))
    assert run(["report", "a.json", "c.json", "--html", "page.html"]) == 2
    assert "c.json is no audit: only audits share a page" in capsys.readouterr().err
    assert not Path("page.html").exists()


@pytest.mark.parametrize("name", ["attack.json", "compression.json", "training.json"])
def test_a_broken_result_is_refused_with_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(dumps(SAVED[name][0]()).replace('"seed"', '"sead"').replace('"rows"', '"raws"'))
    assert run(["report", name, "--html", "page.html"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"brittle: {name}: not a valid ")
    assert "expected a file written by brittle with --json" in line
    assert not Path("page.html").exists()
