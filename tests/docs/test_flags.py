"""Every `python -m ...` of the documentation exists, with the flags it is written with."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.flags import fault
from tests.docs.pages import ROOT, SHELL, Block, blocks, mentioned, name_of, pages

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("page", [*pages(), *CONFIGS], ids=name_of)
def test_commands_exist_with_the_flags_they_are_written_with(page: Path) -> None:
    wrong = [
        f"{command.where}: {command.text}: {said}"
        for command in mentioned(page.read_text(), name_of(page))
        if (said := fault(command.text)) is not None
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_blocks_of_commands_are_tagged(page: Path) -> None:
    for block in blocks(page.read_text(), name_of(page)):
        if any(line.startswith(("python -m ", "pip ")) for line in block.lines):
            assert block.language in SHELL, f"{page}:{block.line} is not tagged ```sh"


def test_no_chapter_writes_where_another_has_written() -> None:
    """A reader goes through them in one folder, and a run folder is never written over."""
    chapters = [page for page in pages() if name_of(page).startswith("docs/learn/")]
    taken: dict[str, str] = {}
    for page in chapters:
        for command in mentioned(page.read_text(), name_of(page)):
            words = command.text.split()
            for flag, place in pairwise(words):
                if flag == "--out":
                    assert place not in taken, f"{command.where}: {place}, as {taken[place]}"
                    taken[place] = command.where
    assert len(taken) > 20


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python -m algorithms.train slateq --seed 1  # as before", None),
        ("python -m algorithms.train slateq --sede 1", "No such option"),
        ("python -m algorithms.train slateq twice", "no further argument"),
        ("python -m algorithms.trian slateq", "no module"),
        ("python -m algorithms.train slateq --config configs/none.yaml", "no configs/none.yaml"),
        ("python -m algorithms.train slateq --set slateq.gama=1", "gama"),
        ("python -m pytest --whatever", None),
        ("python -m algorithms.evaluate RUN --json | python -m json.tool", None),
    ],
)
def test_what_is_wrong_with_a_command(command: str, said: str | None) -> None:
    found = fault(command)
    assert (found is None) == (said is None), found
    assert said is None or said in str(found)


PAGE = """\
# A page

<!-- slow: it trains -->
```sh
python -m algorithms.train slateq \\
    --seed 1      # a seed
# nothing
ls
```

See `python -m offline.check
LOG`.

```python
python = 1
```
"""


def test_blocks_know_their_lines_and_marks() -> None:
    first, second = blocks(PAGE, "a.md")
    assert first == Block("a.md", 5, "sh", first.lines, frozenset({"slow"}))
    assert [(c.line, c.text) for c in first.commands()] == [
        (5, "python -m algorithms.train slateq --seed 1      # a seed"),
        (8, "ls"),
    ]
    assert (second.language, second.line, second.marks) == ("python", 15, frozenset())


def test_commands_within_sentences_are_found() -> None:
    assert [(c.line, c.text.split("  ")[0]) for c in mentioned(PAGE)] == [
        (5, "python -m algorithms.train slateq --seed 1"),
        (11, "python -m offline.check LOG"),
    ]
