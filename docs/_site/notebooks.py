"""`python docs/_site/notebooks.py DIR`: the learning path as notebooks, from one source.

Blocks of Python become code cells, blocks of commands cells that a shell runs. What
serves until it is stopped stays text, for a terminal: its cell would never end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jupytext

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "docs" / "learn").glob("[0-9]*.md"))
KERNEL = """---
jupyter:
  kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""
HOME = """```python
import os

if not os.path.isdir("configs"):
    os.chdir({up!r})  # commands name files of the checkout
```

"""
MARKS = ("<!-- slow:", "<!-- not run:", "<!-- background:")
BACKGROUND = MARKS[2]


def notebook(chapter: Path, up: str) -> object:
    """A chapter as a notebook, without the lines that only tests read.

    Args:
        chapter: the page.
        up: the checkout, as seen from the notebook's folder.
    """
    kept, before = [], ""
    for line in chapter.read_text().splitlines(keepends=True):
        if before.startswith(BACKGROUND) and line.startswith("```"):
            line = "```text\n"
        if not line.startswith(MARKS):
            kept.append(line)
        before = line
    return jupytext.reads(KERNEL + HOME.format(up=up) + "".join(kept), fmt="md")


def write(folder: Path) -> list[Path]:
    """Write every chapter; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    up = os.path.relpath(ROOT, folder.resolve())
    written = []
    for chapter in CHAPTERS:
        path = folder / f"{chapter.stem}.ipynb"
        jupytext.write(notebook(chapter, up), path)
        written.append(path)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("name the folder to write notebooks to", file=sys.stderr)
        raise SystemExit(2)
    for path in write(Path(sys.argv[1])):
        print(path)
