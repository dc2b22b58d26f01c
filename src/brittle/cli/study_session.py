"""Runs the trials that have no answer yet and judges what is there, however the run ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from brittle.cli.study_asked import AskedClaims, AskedStudy, asked_for
from brittle.cli.study_check import check_trials
from brittle.cli.study_outputs import StudyFolder
from brittle.errors import DataError
from brittle.evaluation.progress import Progress
from brittle.results.study import StudyResult
from brittle.studies.answer import rows_of
from brittle.studies.engine import run_trials
from brittle.studies.export import read_csv
from brittle.studies.run_trial import run_group, run_trial
from brittle.studies.store import Failure, Store
from brittle.studies.taken import take_answers


@dataclass(frozen=True)
class StudyRequest:
    """What the user typed about how to run."""

    workers: int
    ray: str | None
    retry: bool
    reuse: bool
    take: Path | None
    time_limit: float | None
    command: str


@dataclass(frozen=True)
class StudySession:
    """What came of it; `stopped` at the time limit, `interrupted` by the keyboard."""

    result: StudyResult
    failures: tuple[Failure, ...]
    stopped: bool
    interrupted: bool


def run_asked(
    asked: AskedClaims | AskedStudy, folder: StudyFolder, request: StudyRequest, progress: Progress
) -> StudySession:
    """Run and judge; what is finished stays in the folder whatever happens.

    Raises:
        BrittleError: a study that cannot be run, before its first trial; or trials that all failed.
    """
    deadline = None if request.time_limit is None else monotonic() + request.time_limit
    asked.answer({}, (), None)  # a criterion that fits no trial is refused now, not after hours
    taken = () if request.take is None else read_csv(request.take)
    check_trials(asked.trials)
    folder.begin(asked.name, {**asked.typed, "command": request.command})
    stopped = interrupted = False
    with Store(folder.store) as store:
        take_answers(store, taken)
        reuse = other_codes(store) if request.reuse else ()
        try:
            ran = run_trials(
                asked.trials,
                store,
                run_trial,
                group_function=run_group,
                workers=request.workers,
                ray=request.ray,
                memory=folder.memory.resolve(),
                retry=request.retry,
                reuse=reuse,
                deadline=deadline,
                progress=progress,
            )
            stopped = ran.stopped
        except KeyboardInterrupt:
            interrupted = True
        progress("judging", 0, 1)
        rows = rows_of(store, asked.trials, reuse)
        failures = store.failures(asked.trials)
    if failures and not rows and not interrupted:
        last = failures[0].traceback.strip().splitlines()[-1]
        raise DataError(f"all {len(failures)} trials failed, the first with {last}: change the study, or add --retry")
    result = asked.answer(rows, {failure.key for failure in failures}, request.command)
    return StudySession(result, failures, stopped, interrupted)


def reported_result(folder: StudyFolder, *, refresh: bool) -> StudyResult:
    """The record of a run: as written, or judged anew from the trials that are there.

    Raises:
        DataError: no run in that folder, or a record that cannot be read.
    """
    if folder.numbers.exists() and not refresh:
        return folder.read()
    question = folder.read_asked()
    name, preset, data, only = (question.get(key) for key in ("study", "preset", "data_dir", "only"))
    asked = asked_for(
        str(name),
        str(preset),
        None if data is None else Path(str(data)),
        tuple(map(str, only)) if isinstance(only, list) else (),
    )
    with Store(folder.store, create=False) as store:
        rows = rows_of(store, asked.trials, other_codes(store))
        failed = {failure.key for failure in store.failures(asked.trials)}
    command = question.get("command")
    return asked.answer(rows, failed, None if command is None else str(command))


def other_codes(store: Store) -> tuple[str, ...]:
    """All code versions that a store has answers of, the newest first."""
    return tuple(code for code, _ in store.codes())
