"""`python docs/_site/notebooks.py DIR`: the learning path as notebooks, from one source.

Blocks of Python become code cells, blocks of commands cells that a shell runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jupytext

CHAPTERS = sorted((Path(__file__).parents[1] / "learn").glob("[0-9]*.md"))
KERNEL = """---
jupyter:
  kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""
MARKS = ("<!-- slow:", "<!-- not run:", "<!-- background:")


def notebook(chapter: Path) -> object:
    """A chapter as a notebook, without the lines that only tests read."""
    lines = chapter.read_text().splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.startswith(MARKS))
    return jupytext.reads(KERNEL + kept, fmt="md")


def write(folder: Path) -> list[Path]:
    """Write every chapter; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for chapter in CHAPTERS:
        path = folder / f"{chapter.stem}.ipynb"
        jupytext.write(notebook(chapter), path)
        written.append(path)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("name the folder to write notebooks to", file=sys.stderr)
        raise SystemExit(2)
    for path in write(Path(sys.argv[1])):
        print(path)
