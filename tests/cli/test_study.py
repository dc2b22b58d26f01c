"""`brittle study` as a user types it: what it writes, how it goes on, what it says when it is stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from brittle.cli import study_outputs, study_session
from brittle.cli.app import run
from brittle.cli.study_asked import AskedClaims, asked_for, some_claims
from brittle.cli.study_outputs import StudyFolder
from brittle.errors import DataError, UsageError
from brittle.report import format as fmt
from brittle.results.serialise import from_dict, read_json
from brittle.results.study import StudyResult
from brittle.studies.claims.merge import trials_of_cells
from brittle.studies.presets import PRESETS, claims_plan
from brittle.studies.store import Store
from brittle.studies.trial import RankSource, Trial
from tests.studies.cheap import Made

Captured = pytest.CaptureFixture[str]
OWN = """
name: own
question: Does robustness fall with rank?
base: {model: "zoo:mlp?width=16&depth=2", test: 50, threats: [{norm: linf, epsilon: 0.05}]}
grid:
  source: [{kind: dense}, {kind: rank, rank: 8}, {kind: rank, rank: 6}, {kind: rank, rank: 4}, {kind: rank, rank: 2}]
  seed: [0, 1, 2, 3, 4]
criterion: {predictor: structure.spectral, outcome: robust.linf@0.05, direction: falls, over: source}
"""


def falling(trial: Trial, *, memory: Path | None) -> Made:
    """Robust accuracy falls with the rank: 0.6 to 0.12; no network is made."""
    rank = trial.source.rank if isinstance(trial.source, RankSource) else 10
    wobble = 0.001 * ((7 * trial.seed + 3 * rank) % 5)
    return Made({"clean": 0.9, "robust.linf@0.05": 0.06 * rank + wobble, "structure.spectral": 1 / rank + wobble})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(OWN, encoding="utf-8")
    use(monkeypatch, falling)
    return tmp_path


def use(monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    """Trials that cost nothing; each alone, so that one can stop the run."""

    def group(trials: Sequence[Trial], *, memory: Path | None) -> list[Made]:
        return [function(trial, memory=memory) for trial in trials]

    monkeypatch.setattr(study_session, "run_trial", function)
    monkeypatch.setattr(study_session, "run_group", group)


def written(folder: str = "out") -> StudyResult:
    return from_dict(StudyResult, read_json(f"{folder}/study.json"))


def test_a_run_writes_everything_and_says_the_verdict(place: Path, capsys: Captured) -> None:
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "The claim is supported" in captured.err
    assert "48.0 points" in captured.err
    assert "report: out/report.html" in captured.err
    names = {path.name for path in Path("out").iterdir()}
    assert names >= {"trials.sqlite", "study.json", "trials.csv", "report.html", "asked.json"}
    result = written()
    assert (result.claims[0].outcome, len(result.trials), result.missing, result.failed) == ("supported", 25, 0, 0)
    assert result.command == "brittle study run own.yaml --out out"
    assert len(Path("out/trials.csv").read_text().splitlines()) == 26
    assert "Does robustness fall with rank?" in Path("out/report.html").read_text()


def test_without_out_the_folder_has_the_studys_name_and_json_goes_to_stdout(place: Path, capsys: Captured) -> None:
    assert run(["study", "run", "own.yaml", "--json", "-"]) == 0
    assert from_dict(StudyResult, json.loads(capsys.readouterr().out)) == written("own")
    assert run(["study", "run", "own.yaml", "--json", "copy.json"]) == 0
    assert Path("copy.json").read_text() == Path("own/study.json").read_text()


def test_ctrl_c_keeps_what_is_finished_writes_the_report_and_the_same_command_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    done: list[int] = []

    def stopped(trial: Trial, *, memory: Path | None) -> Made:
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(trial.seed)
        return falling(trial, memory=memory)

    use(monkeypatch, stopped)
    monkeypatch.setattr(study_session, "run_group", None)  # one transaction for each trial
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 130
    assert "interrupted; what is finished is kept" in capsys.readouterr().err
    result = written()
    assert (len(result.trials), result.missing) == (7, 18)
    assert result.claims[0].outcome == "inconclusive"
    assert "18 of 25 trials have no answer" in Path("out/report.html").read_text()
    again: list[int] = []

    def counted(trial: Trial, *, memory: Path | None) -> Made:
        again.append(trial.seed)
        return falling(trial, memory=memory)

    monkeypatch.setattr(study_session, "run_trial", counted)
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    assert len(again) == 18
    assert written().claims[0].outcome == "supported"


def test_the_time_limit_is_exit_3_and_says_what_is_missing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def slow(trial: Trial, *, memory: Path | None) -> Made:
        time.sleep(0.05)
        return falling(trial, memory=memory)

    use(monkeypatch, slow)
    monkeypatch.setattr(study_session, "run_group", None)
    assert run(["study", "run", "own.yaml", "--out", "out", "--time-limit", "0.2"]) == 3
    assert "stopped at the time limit; the same command goes on" in capsys.readouterr().err
    assert written().missing > 10


def test_failed_trials_are_told_and_run_again_only_when_asked_to(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def failing(trial: Trial, *, memory: Path | None) -> Made:
        if trial.seed == 3:
            raise ValueError("made to fail")
        return falling(trial, memory=memory)

    use(monkeypatch, failing)
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    assert "5 of 25 trials have no answer, 5 of them because they failed" in capsys.readouterr().err
    assert "ValueError: made to fail" in Path("out/failures.txt").read_text()
    assert (written().missing, written().failed) == (0, 5)
    use(monkeypatch, falling)
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    assert written().failed == 5
    assert run(["study", "run", "own.yaml", "--out", "out", "--retry"]) == 0
    assert written().failed == 0
    assert not Path("out/failures.txt").exists()


def test_when_all_trials_fail_there_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def failing(trial: Trial, *, memory: Path | None) -> Made:
        raise ValueError("made to fail")

    use(monkeypatch, failing)
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "brittle: all 25 trials failed, the first with ValueError: made to fail: change the study, or add --retry"
    )


def test_a_report_is_made_again_from_the_record_or_from_the_trials(place: Path, capsys: Captured) -> None:
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    first = Path("out/report.html").read_text()
    assert run(["study", "report", "out", "--html", "again.html", "--markdown", "own.md"]) == 0
    assert Path("again.html").read_text() == first
    assert Path("own.md").read_text().startswith("# Does robustness fall with rank?")
    assert Path("own/own.svg").exists()
    Path("out/study.json").unlink()  # as after a kill
    Path("out/report.html").unlink()
    assert run(["study", "report", "out"]) == 0
    assert Path("out/report.html").read_text() == first
    with Store("out/trials.sqlite") as store:
        store._connection.execute("DELETE FROM trials WHERE config LIKE '%\"seed\":4%'")
    capsys.readouterr()
    assert run(["study", "report", "out", "--refresh"]) == 0
    assert "5 of 25 trials have no answer" in capsys.readouterr().err


def test_answers_of_other_code_are_taken_when_asked_to(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from brittle.studies import keys, store

    with monkeypatch.context() as other:
        for module in (keys, store):
            other.setattr(module, "code_version", lambda: "older/torch-2.0")
        assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    ran: list[int] = []

    def counted(trial: Trial, *, memory: Path | None) -> Made:
        ran.append(trial.seed)
        return falling(trial, memory=memory)

    use(monkeypatch, counted)
    assert run(["study", "run", "own.yaml", "--out", "out", "--reuse"]) == 0
    assert (len(ran), len(written().trials)) == (0, 25)
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    assert len(ran) == 25


def test_list_counts_trials_and_tells_the_state_of_runs(place: Path, capsys: Captured) -> None:
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    Path("broken").mkdir()
    Path("broken/trials.sqlite").write_text("no database")
    with Store("under-way.sqlite"):  # not under the name of a run
        pass
    capsys.readouterr()
    assert run(["study", "list"]) == 0
    text = capsys.readouterr().out
    for name in PRESETS:
        plan = claims_plan(name, Path("DATA"))
        line = next(line for line in text.splitlines() if line.startswith("claims") and name in line)
        assert f" {fmt.count(len(plan.trials))} " in line
        assert " 12 " in line
    assert "The claim is supported" in text
    assert "broken" in text


def test_show_prints_questions_criteria_and_counts_before_anything_is_run(place: Path, capsys: Captured) -> None:
    assert run(["study", "show", "claims", "--only", "C2, C9"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    whole = claims_plan("quick")
    some = some_claims(whole, ("C2", "C9"))
    assert f"{len(some.trials)} trials for 2 claims" in text
    assert "C9" in text
    assert "C3 " not in text
    for claim in some.claims:
        assert " ".join(claim.question.split()) in text
    assert "after Holm's correction" in text
    assert run(["study", "show", "own.yaml"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "25 trials, 5 seeds." in text
    assert "supported if robust.linf@0.05 falls by 2 or more" in text
    Path("own.yaml").write_text(OWN.rpartition("criterion")[0])
    assert run(["study", "show", "own.yaml"]) == 0
    assert "gives no verdict" in capsys.readouterr().out
    assert list(Path().iterdir()) == [Path("own.yaml")]


def test_some_claims_need_their_trials_and_no_others() -> None:
    whole = claims_plan("quick")
    some = some_claims(whole, ("C9", "C2"))
    assert [claim.id for claim in some.claims] == ["C2", "C9"]
    assert set(some.trials) == set(trials_of_cells(cell for part in some.cells for cell in part))
    assert set(some.trials) < set(whole.trials)
    asked = asked_for("claims", only=("C2",))
    assert isinstance(asked, AskedClaims)
    assert (asked.name, asked.folder) == ("claims", "claims-quick")


def test_the_claims_run_and_go_on_through_the_command_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def anything(trial: Trial, *, memory: Path | None) -> Made:
        return Made({"clean": 0.9})  # nothing that the claim looks at

    use(monkeypatch, anything)
    monkeypatch.setattr(study_session, "check_trials", lambda trials: None)
    assert run(["study", "run", "claims", "--only", "C10", "--out", "out"]) == 0
    result = written()
    assert (result.name, result.preset, [c.claim for c in result.claims]) == ("claims", "quick", ["C10"])
    assert result.claims[0].outcome == "inconclusive"
    Path("out/study.json").unlink()
    assert run(["study", "report", "out"]) == 0
    assert "inconclusive" in capsys.readouterr().err


def test_parquet_is_written_where_pyarrow_is_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from brittle.studies import export

    def written_parquet(rows: Sequence[Any], path: Path) -> Path:
        path.write_text(str(len(rows)))
        return path

    monkeypatch.setattr(study_outputs, "find_spec", lambda name: object())
    monkeypatch.setattr(export, "write_parquet", written_parquet)
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    assert Path("out/trials.parquet").read_text() == "25"


def test_folders_of_something_else_are_refused(place: Path) -> None:
    folder = StudyFolder(place / "nothing")
    with pytest.raises(DataError, match="holds no run of a study: give the --out of brittle study run"):
        folder.read_asked()
    folder.begin("own", {"study": "x.yaml"})
    with pytest.raises(UsageError, match="holds the study own, not claims: choose another folder with --out"):
        folder.check("claims")
    folder.numbers.write_text('{"schema": "brittle.audit/1"}')
    with pytest.raises(DataError, match=r"is no brittle\.study/1: expected a file written by brittle study run"):
        folder.read()


def test_trials_run_elsewhere_are_taken_from_their_table(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["study", "run", "own.yaml", "--out", "there"]) == 0
    ran: list[Trial] = []

    def counted(trial: Trial, *, memory: Path | None) -> Made:
        ran.append(trial)
        return falling(trial, memory=memory)

    use(monkeypatch, counted)
    lines = Path("there/trials.csv").read_text().splitlines(keepends=True)
    Path("some.csv").write_text("".join(lines[:11]))
    assert run(["study", "run", "own.yaml", "--out", "here", "--take", "some.csv"]) == 0
    assert len(ran) == 15
    assert written("here").claims == written("there").claims


def test_a_table_of_other_trials_is_refused_before_any_trial(place: Path, capsys: Captured) -> None:
    assert run(["study", "run", "own.yaml", "--out", "there"]) == 0
    text = Path("there/trials.csv").read_text()
    Path("bad.csv").write_text(text.replace("width=16&depth=2", "width=16&depth=3"))
    capsys.readouterr()
    assert run(["study", "run", "own.yaml", "--out", "here", "--take", "bad.csv"]) == 2
    assert "its key does not fit" in capsys.readouterr().err
    assert run(["study", "run", "own.yaml", "--out", "here", "--take", "none.csv"]) == 2
    assert "no such file: none.csv" in capsys.readouterr().err


def test_brittle_report_reads_the_record(place: Path) -> None:
    assert run(["study", "run", "own.yaml", "--out", "out"]) == 0
    assert run(["report", "out/study.json", "--html", "page.html"]) == 0
    assert "Does robustness fall with rank?" in Path("page.html").read_text(encoding="utf-8")
