"""The documents as data: their fenced blocks with the marks before them, their `brittle` commands, their links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]))

_MARK = re.compile(r"<!-- (run|output|file)(?:: (.+?))? -->")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts at, and the mark in the line before it.

    `mark` is "run", "output", "file" or ""; `detail` is what follows the mark's colon ("slow", "exit 1", a name, "").
    """

    language: str
    text: str
    line: int
    mark: str
    detail: str

    @property
    def commands(self) -> tuple[str, ...]:
        """The lines that start with `brittle`, continued lines joined."""
        joined = self.text.replace("\\\n", " ")
        lines = (line.strip() for line in joined.splitlines())
        return tuple(line for line in lines if line.split(" ")[0] == "brittle")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> tuple[Block, ...]:
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start, language, mark = None, "", None
    for number, line in enumerate(lines):
        if start is None and line.startswith("```"):
            start, language = number, line[3:].strip()
            mark = _MARK.fullmatch(lines[number - 1].strip()) if number else None
        elif start is not None and line.strip() == "```":
            text = "\n".join(lines[start + 1 : number])
            found.append(Block(language, text, start + 1, mark[1] if mark else "", (mark[2] or "") if mark else ""))
            start = None
    assert start is None, f"{name(page)}: the block in line {start} is never closed"
    return tuple(found)


def words(command: str) -> list[str]:
    """A command's arguments without the leading `brittle`."""
    return shlex.split(command)[1:]


def _unfenced(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def prose(page: Path) -> str:
    """The page without its fenced blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "code", _unfenced(page))


def code_spans(page: Path) -> tuple[str, ...]:
    """The inline code of a page."""
    return tuple(re.findall(r"`([^`\n]+)`", _unfenced(page)))


def links(page: Path) -> tuple[str, ...]:
    return tuple(_LINK.findall(prose(page)))


def anchors(page: Path) -> set[str]:
    """The headings as the site and GitHub name them."""
    headings = re.findall(r"^#+ (.+)$", _unfenced(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}
