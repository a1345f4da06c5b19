"""What the documentation tells its readers to type: fenced blocks, commands, marks.

A block that a reader runs is tagged `sh`, one command a line; a backslash continues
it. On the lines before a fence may stand

    <!-- slow: why -->        runs only with the slow tests
    <!-- not run: why -->     is only checked for its flags
    <!-- background: why -->  goes on while the rest of the page runs
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELL = ("sh", "bash", "console")
FENCE = re.compile(r"^ {0,4}(```+)\s*([\w+-]*)\s*$")
MARK = re.compile(r"^\s*<!-- (slow|not run|background): (.+?) -->\s*$")
INLINE = re.compile(r"`(python -m [^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is that of its first line of content."""

    page: str
    line: int
    language: str
    lines: tuple[str, ...]
    marks: frozenset[str] = frozenset()

    def commands(self) -> list[Command]:
        """Its commands, with continued lines joined, comments and empty lines left out."""
        found: list[Command] = []
        pending, first = "", self.line
        for number, line in enumerate(self.lines, self.line):
            first = first if pending else number
            if line.rstrip().endswith("\\"):
                pending += line.rstrip()[:-1].strip() + " "
                continue
            text, pending = (pending + line.strip()).strip(), ""
            if text and not text.startswith("#"):
                found.append(Command(self.page, first, text))
        return found


@dataclass(frozen=True)
class Command:
    """One command, where it stands, and what stands there."""

    page: str
    line: int
    text: str

    @property
    def where(self) -> str:
        """File and line, as editors take it."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page that a reader sees, the README first."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
    return [page for page in found if page.is_file()]


def name_of(page: Path) -> str:
    """A page's path from the repository's root."""
    return page.relative_to(ROOT).as_posix()


def blocks(text: str, page: str = "") -> list[Block]:
    """The fenced blocks of a Markdown text, in order."""
    found: list[Block] = []
    lines = text.splitlines()
    at = 0
    marks: set[str] = set()
    while at < len(lines):
        opened = FENCE.match(lines[at])
        if opened is None:
            mark = MARK.match(lines[at])
            marks = marks | {mark[1]} if mark else marks if not lines[at].strip() else set()
            at += 1
            continue
        end = at + 1
        while end < len(lines) and lines[end].strip() != opened[1]:
            end += 1
        body = tuple(lines[at + 1 : end])
        found.append(Block(page, at + 2, opened[2], body, frozenset(marks)))
        at, marks = end + 1, set()
    return found


def mentioned(text: str, page: str = "") -> list[Command]:
    """Every `python -m ...` of a page: in its blocks, and within its sentences."""
    found = [
        command
        for block in blocks(text, page)
        if block.language in ("", *SHELL)
        for command in block.commands()
        if command.text.removeprefix("$ ").startswith("python -m ")
    ]
    for match in INLINE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        found.append(Command(page, line, " ".join(match[1].split())))
    return found
