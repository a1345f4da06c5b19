"""The chapters are notebooks, too: they convert, and their Python cells run in order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from docs._site.notebooks import CHAPTERS, notebook, write
from tests.docs.pages import blocks


def test_there_is_a_chapter_for_each_step_of_the_path() -> None:
    assert [int(chapter.name[:2]) for chapter in CHAPTERS] == list(range(1, 12))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_notebook_has_the_cells_that_a_reader_sees(chapter: Path) -> None:
    """What the cells do is tested by test_commands.py, which runs the same source."""
    made: Any = notebook(chapter, "..")
    nbformat.validate(made)
    home, *cells = [cell.source for cell in made.cells if cell.cell_type == "code"]
    found = [
        block
        for block in blocks(chapter.read_text())
        if block.language in ("sh", "python") and "background" not in block.marks
    ]
    shown = [
        ("%%sh\n" if block.language == "sh" else "") + "\n".join(block.lines) for block in found
    ]
    assert 'os.chdir("..")' in home.replace("'", '"')
    assert cells == shown
    for cell in cells:
        if not cell.startswith("%%"):
            compile(cell, chapter.name, "exec")


def test_the_command_writes_whole_notebooks(tmp_path: Path) -> None:
    paths = write(tmp_path / "notebooks")
    assert [path.stem for path in paths] == [chapter.stem for chapter in CHAPTERS]
    for path in paths:
        made = nbformat.read(path, as_version=4)
        sources = [cell.source for cell in made.cells if cell.cell_type == "code"]
        assert sources and all("<!--" not in cell.source for cell in made.cells)
        assert any(source.startswith("%%sh\n") for source in sources)


def test_a_notebook_works_from_the_checkout_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = nbformat.read(write(tmp_path / "deep" / "notebooks")[0], as_version=4)
    home = next(cell.source for cell in made.cells if cell.cell_type == "code")
    monkeypatch.chdir(tmp_path / "deep" / "notebooks")
    for _ in range(2):  # a cell may be run again
        exec(home, {})
        assert Path.cwd() == CHAPTERS[0].parents[2]


def test_what_serves_is_no_cell_of_a_notebook() -> None:
    (serving,) = (chapter for chapter in CHAPTERS if chapter.stem == "11_serving")
    made: Any = notebook(serving, "..")
    holding = [cell.cell_type for cell in made.cells if "serve.run runs/loop" in cell.source]
    assert holding == ["markdown"]


def test_the_command_without_a_folder_says_so() -> None:
    script = Path(__file__).parents[2] / "docs" / "_site" / "notebooks.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "name the folder to write notebooks to\n")
