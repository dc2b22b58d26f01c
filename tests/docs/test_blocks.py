"""What the pages show runs: Python blocks in order, `brittle` commands as marked, and every command parses."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from brittle.cli import app as cli
from tests.docs.pages import PAGES, ROOT, Block, blocks, name, words
from tests.vision import need_torchvision

# Need a network of torchvision's or of the demo's size, trained: for the slow suite alone.
_WHOLLY_SLOW = {"docs/tutorial/torchvision.md", "docs/tutorial/compress.md"}
_RUNNABLE = [
    page
    for page in PAGES
    if name(page) not in _WHOLLY_SLOW and any(b.language == "python" or b.mark == "run" for b in blocks(page))
]
_SLOW = [page for page in PAGES if any(b.detail == "slow" for b in blocks(page))]
_COMMANDS = [(page, block, command) for page in PAGES for block in blocks(page) for command in block.commands]
_LANGUAGES = {"python", "bash", "text", "yaml"}


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"[-+−]?\d[\d,]*\.?\d*", text))


def _run_page(page: Path, capfd: pytest.CaptureFixture[str], *, slow: bool) -> None:
    """Run a page's blocks in the working directory; with `slow` also the slow ones, and check the output blocks."""
    scope: dict[str, object] = {"__name__": "__docs__"}
    printed = ""
    for block in blocks(page):
        where = f"{name(page)}:{block.line}"
        if block.mark == "file":
            Path(block.detail).write_text(block.text + "\n", encoding="utf-8")
        if block.language == "python":
            if "import torchvision" in block.text:
                need_torchvision()
            exec(compile(block.text, where, "exec"), scope)
        elif block.mark == "run" and (slow or block.detail != "slow"):
            capfd.readouterr()
            for command in block.commands:
                code = cli.run(words(command))
                assert code == _expected(block), f"{where}: {command} exited with {code}"
            printed = "".join(capfd.readouterr())
        elif block.mark == "output" and slow:
            missing = _numbers(block.text) - _numbers(printed)
            assert not missing, f"{where}: not printed by the command above: {', '.join(sorted(missing))}\n{printed}"


def _expected(block: Block) -> int:
    return int(block.detail.removeprefix("exit ")) if block.detail.startswith("exit ") else 0


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that a page imports from its folder are forgotten afterwards."""
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)


@pytest.mark.parametrize("page", _RUNNABLE, ids=name)
def test_page_runs(page: Path, workshop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _run_page(page, capfd, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", _SLOW, ids=name)
def test_page_runs_in_earnest(page: Path, empty_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _run_page(page, capfd, slow=True)


@pytest.mark.parametrize(("page", "block", "command"), _COMMANDS, ids=[f"{name(p)}:{b.line}" for p, b, _ in _COMMANDS])
def test_command_parses(page: Path, block: Block, command: str) -> None:
    arguments = [word for word in words(command) if word not in ("brittle.toml",)]
    if "--config" in arguments:  # the parser reads the file; whether it fits is seen where the page runs
        arguments.remove("--config")
    group = get_command(cli.app)
    context = group.make_context("brittle", cli.spread_numbers(arguments), resilient_parsing=False)
    _, subcommand, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    assert subcommand is not None
    subcommand.make_context(subcommand.name, rest, parent=context)


def test_marks_are_understood() -> None:
    for page in PAGES:
        for block in blocks(page):
            where = f"{name(page)}:{block.line}"
            assert block.language in _LANGUAGES, f"{where}: a block in {block.language!r} is never checked"
            understood = r"\w[\w.-]*" if block.mark == "file" else r"(slow|exit \d+)?"
            assert re.fullmatch(understood, block.detail), f"{where}: {block.detail}"
            assert block.mark != "run" or block.commands, f"{where}: nothing to run"
        marks = len(re.findall(r"^<!-- (run|output|file)", page.read_text(encoding="utf-8"), flags=re.M))
        assert marks == sum(b.mark != "" for b in blocks(page)), f"{name(page)}: a mark without a block under it"


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.M))
    for page in PAGES:
        used = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(b.text for b in blocks(page) if b.language == "bash")))
        assert used <= targets, f"{name(page)} names {sorted(used - targets)}"
