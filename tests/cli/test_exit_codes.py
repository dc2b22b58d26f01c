"""What a script relies on: exit codes, what is on stdout, and which files are there afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from brittle.cli.app import run
from brittle.errors import SoundnessError
from brittle.results.audit import Audit
from brittle.results.serialise import read_json

BASE, CHILD = "base.safetensors", "child.safetensors"
QUICK = ("--samples", "40", "--effort", "quick", "--norm", "linf", "--epsilon", "0.05")
Captured = pytest.CaptureFixture[str]


def audit_in(path: str | Path) -> Audit:
    return Audit.from_dict(read_json(path))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {BASE, CHILD}


def test_done_is_0_and_json_on_stdout_is_all_there_is_on_stdout(work: Path, capsys: Captured) -> None:
    assert run(["audit", BASE, *QUICK, "--json", "-"]) == 0
    captured = capsys.readouterr()
    audit = Audit.from_dict(json.loads(captured.out))
    assert (audit.model.name, audit.data.samples, audit.verdict) == (BASE, 40, None)
    assert audit.settings.command == f"brittle audit {BASE} {' '.join(QUICK)} --json -"
    assert "Robust accuracy" in captured.err
    assert names(work) == set()


def test_a_failed_gate_is_1_and_results_are_written_all_the_same(work: Path, capsys: Captured) -> None:
    arguments = ["audit", CHILD, "--against", BASE, *QUICK, "--json", "a.json", "--junit", "j.xml"]
    assert run([*arguments, "--max-drop", "2"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("brittle: the gate failed")
    audit = audit_in("a.json")
    assert audit.verdict is not None
    assert audit.verdict.brittle is True
    assert audit.comparison is not None
    assert audit.comparison.paired[0].interval95[0] > 2
    assert 'failures="1"' in Path("j.xml").read_text()


def test_without_a_gate_a_brittle_child_is_reported_with_0(work: Path) -> None:
    assert run(["audit", CHILD, "--against", BASE, *QUICK, "--json", "a.json"]) == 0
    verdict = audit_in("a.json").verdict
    assert verdict is not None
    assert (verdict.brittle, verdict.max_drop_points) == (True, 2.0)


def test_a_gate_that_holds_is_0(work: Path) -> None:
    assert run(["audit", BASE, "--against", BASE, *QUICK, "--max-drop", "2", "--json", "a.json"]) == 0
    verdict = audit_in("a.json").verdict
    assert verdict is not None
    assert verdict.brittle is not True


def test_the_time_limit_is_3_and_partial_results_are_written_and_marked(work: Path, capsys: Captured) -> None:
    arguments = ["audit", BASE, *QUICK, "--time-limit", "0.000001"]
    assert run([*arguments, "--json", "a.json", "--html", "r.html"]) == 3
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("brittle: stopped at the time limit")
    audit = audit_in("a.json")
    assert audit.partial
    row = audit.robustness[0]
    assert row.certified <= row.attacked == row.clean  # no attack has run, so nobody is known to fall
    assert names(work) == {"a.json", "r.html"}


def test_no_gate_is_judged_and_nothing_passes_for_finished_when_time_ran_out(work: Path) -> None:
    arguments = ["audit", CHILD, "--against", BASE, *QUICK, "--max-drop", "0", "--time-limit", "0.000001"]
    assert run([*arguments, "--json", "a.json", "--resume", "kept"]) == 3
    audit = audit_in("a.json")
    assert audit.partial
    assert audit.verdict is None
    assert not list(Path("kept").glob("*.json")), "a partial audit must not pass for a finished one"


def test_a_broken_certificate_is_70_with_a_bug_file_and_no_results(
    work: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise SoundnessError("1 certified sample\nwas flipped", {"norm": "linf", "samples": [7]})

    monkeypatch.setattr("brittle.auditing.run.measure", broken)
    assert run(["audit", BASE, *QUICK, "--json", "a.json"]) == 70
    captured = capsys.readouterr()
    (bug,) = names(work)
    assert bug.startswith("brittle-bug-")
    last = captured.err.splitlines()[-1]
    assert last == f"brittle: internal error: 1 certified sample was flipped (attach {bug})"
    report = json.loads(Path(bug).read_text())
    assert report["samples"] == [7]
    assert "1 certified sample" in report["message"]


@pytest.mark.parametrize(
    ("radii", "expected"),
    [
        (("--epsilon", "0.02", "0.05"), [("linf", 0.02), ("linf", 0.05), ("l2", 0.02), ("l2", 0.05)]),
        (("--epsilon", "8/255", "--norm", "linf"), [("linf", 8 / 255)]),
        (("--epsilon", "linf:0.05,l2:0.5"), [("linf", 0.05), ("l2", 0.5)]),
        (("--epsilon=0.05", "--epsilon", "0.02", "--norm", "l2"), [("l2", 0.02), ("l2", 0.05)]),
        ((), [("linf", 0.05), ("linf", 0.1), ("l2", 0.5)]),
    ],
    ids=["two after one flag", "fraction", "by norm", "two flags", "defaults"],
)
def test_radii(work: Path, radii: tuple[str, ...], expected: list[tuple[str, float]]) -> None:
    assert run(["audit", BASE, "--samples", "2", "--effort", "quick", *radii, "--json", "a.json"]) == 0
    assert [(row.norm, row.epsilon) for row in audit_in("a.json").robustness] == expected


def test_radii_in_front_of_the_model_do_not_swallow_it(work: Path) -> None:
    tail = ("--norm", "linf", "--samples", "2", "--effort", "quick", "--json", "a.json")
    assert run(["audit", "--epsilon", "0.02", "0.05", BASE, *tail]) == 0
    audit = audit_in("a.json")
    assert audit.model.name == BASE
    assert len(audit.robustness) == 2


def test_flags_win_over_the_config_file(work: Path) -> None:
    Path("c.toml").write_text('samples = 7\nnorm = "l2"\nepsilon = [0.1, "0.2"]\neffort = "quick"\nbatch-size = 3\n')
    assert run(["audit", BASE, "--config", "c.toml", "--samples", "5", "--json", "a.json"]) == 0
    audit = audit_in("a.json")
    assert audit.data.samples == 5
    assert (audit.settings.effort, audit.settings.batch_size) == ("quick", 3)
    assert [(row.norm, row.epsilon) for row in audit.robustness] == [("l2", 0.1), ("l2", 0.2)]


def test_several_models_against_one_base_write_one_audit_each(work: Path) -> None:
    places = ("--json", "audits", "--html", "r.html", "--junit", "j.xml")
    assert run(["audit", CHILD, BASE, "--against", BASE, *QUICK, *places]) == 0
    assert names(work / "audits") == {"audit-0.json", "audit-1.json"}
    first, second = (audit_in(f"audits/audit-{i}.json") for i in range(2))
    assert (first.model.name, second.model.name) == (CHILD, BASE)
    assert first.comparison is not None
    assert second.comparison is not None
    assert first.comparison.paired[0].drop_points > second.comparison.paired[0].drop_points == 0
    assert Path("r.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert Path("j.xml").read_text().count("<testsuite ") == 2


def test_resume_reuses_what_is_finished_and_measures_what_is_damaged(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from brittle.auditing import store

    measured: list[str] = []
    real = store.audit_one

    def counted(subject: store.Subject, *rest: object, **options: object) -> Audit:
        measured.append(subject.name)
        return real(subject, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "audit_one", counted)
    arguments = ["audit", CHILD, "--against", BASE, *QUICK, "--resume", "kept", "--json", "a.json"]

    def again() -> list[str]:
        measured.clear()
        assert run(arguments) == 0
        return list(measured)

    assert again() == [BASE, CHILD]
    first = audit_in("a.json")
    kept = sorted(Path("kept").iterdir())
    assert len(kept) == 2
    assert again() == []
    assert audit_in("a.json") == first

    stem = next(path for path in kept if audit_in(path).model.name == CHILD).name.rpartition("-")[0]
    changed = (lambda text: text.replace(b'"linf"', b'"l2"', 1), lambda text: text[: len(text) // 2])  # valid JSON, cut
    for damage in changed:
        (place,) = Path("kept").glob(f"{stem}-*")
        place.write_bytes(damage(place.read_bytes()))
        assert again() == [CHILD]
        assert audit_in("a.json").robustness == first.robustness
        assert len(list(Path("kept").iterdir())) == 2

    measured.clear()
    assert run(["audit", CHILD, *QUICK, "--seed", "1", "--resume", "kept"]) == 0
    assert measured == [CHILD]  # other options, another audit


def test_a_saved_base_and_child_make_one_page(work: Path, capsys: Captured) -> None:
    assert run(["audit", BASE, *QUICK, "--json", "a.json"]) == 0
    assert run(["audit", CHILD, "--against", BASE, *QUICK, "--json", "b.json"]) == 0
    assert run(["report", "a.json", "b.json", "--html", "page.html"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "report: page.html"
    page = Path("page.html").read_text()
    assert f"<title>brittle: {CHILD}</title>" in page
    assert page.count(BASE) > 1


NO_TORCH = """
import sys
from brittle.cli.app import run
code = run(sys.argv[1:])
heavy = sorted({name.split(".")[0] for name in sys.modules} & {"torch", "numpy", "scipy", "sklearn"})
print(f"imported: {heavy}", file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("arguments", [("--help",), ("audit", "--help"), ("--version",), ()], ids=" ".join)
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "imported: []" in done.stderr, done.stderr
    assert done.returncode == (0 if arguments else 2)
    assert done.stdout.strip()
