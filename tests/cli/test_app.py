"""Whatever happens in a command, one place turns it into an exit code and one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from brittle.cli import app
from brittle.cli.app import one_line, run

Captured = pytest.CaptureFixture[str]


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "brittle: interrupted"),
        (MemoryError(), 2, "brittle: out of memory: use a smaller --batch-size or fewer --samples"),
        (OutOfMemoryError("CUDA"), 2, "brittle: out of memory: use a smaller --batch-size or fewer --samples"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            2,
            "brittle: out of memory: use a smaller --batch-size or fewer --samples",
        ),
    ],
    ids=["interrupt", "memory", "cuda", "cpu allocator"],
)
def test_what_is_nobodys_bug_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, error: BaseException, code: int, line: str
) -> None:
    class Command:
        def main(self, **arguments: object) -> int:
            raise error

    monkeypatch.setattr(app, "get_command", lambda _: Command())
    assert run(["audit"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{line}\n"


def test_a_bug_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    class Command:
        def main(self, **arguments: object) -> int:
            raise ZeroDivisionError("a bug")

    monkeypatch.setattr(app, "get_command", lambda _: Command())
    with pytest.raises(ZeroDivisionError):
        run(["audit"])


def test_without_arguments_the_help_is_shown_and_nothing_else(capsys: Captured) -> None:
    assert run([]) == 2
    captured = capsys.readouterr()
    assert "Usage: brittle" in captured.out + captured.err
    assert "brittle:  (see" not in captured.err


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["audit", "--help"], ["--version"]])
def test_help_and_version_are_0(arguments: list[str], capsys: Captured) -> None:
    assert run(arguments) == 0
    assert capsys.readouterr().err == ""


def test_a_message_of_several_lines_becomes_one() -> None:
    assert one_line("first\n  second\tthird ") == "first second third"


def test_the_bug_file_that_cannot_be_written_is_no_second_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, tmp_path: Path
) -> None:
    from brittle.errors import SoundnessError

    class Command:
        def main(self, **arguments: object) -> int:
            raise SoundnessError("a certificate was broken", {"x": [1.0]})

    monkeypatch.setattr(app, "get_command", lambda _: Command())
    monkeypatch.setattr(app.os, "getpid", lambda: "no/such/folder")
    monkeypatch.chdir(tmp_path)
    assert run(["audit"]) == 70
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "a certificate was broken (cannot write" in captured.err
    assert list(tmp_path.iterdir()) == []
