"""Every command of the documentation is executed, page by page, in a scratch folder.

The quick ones run by default; a page of which anything is slow, or needs something
slow, runs as a whole with the slow tests.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import SHELL, Block, Command, blocks, name_of, pages
from tests.docs.shell import Failed, Shell, close_warm_python

QUICK_PAGES = ("docs/learn/", "docs/howto/algorithm.md")
"""Of other pages nothing runs by default, to keep `make test` short; here Python runs, too."""


@pytest.fixture(scope="module", autouse=True)
def warm_python() -> Iterator[None]:
    yield
    close_warm_python()


def run_blocks(found: list[Block], folder: Path, *, slow: bool) -> int:
    """Run the blocks of a page; how many commands that were."""
    shell, count = Shell(folder, warm=not slow), 0
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        for block in found:
            later = not slow and block.marks & {"slow", "background"}
            if "not run" in block.marks or later:
                continue
            if block.language == "python" and block.page.startswith(QUICK_PAGES):
                run_python(block, folder, names)
            for command in block.commands() if block.language in SHELL else ():
                count += 1
                if "background" in block.marks:
                    shell.start(command)
                else:
                    shell.run(command)
    finally:
        shell.close()
    return count


def run_python(block: Block, folder: Path, names: dict[str, Any]) -> None:
    """Run a block of Python in a folder, with the names of the blocks before it."""
    source = "\n" * (block.line - 1) + "\n".join(block.lines)
    with contextlib.chdir(folder):
        exec(compile(source, block.page, "exec", dont_inherit=True), names)


def of(page: Path) -> list[Block]:
    return blocks(page.read_text(), name_of(page))


QUICK = [page for page in pages() if name_of(page).startswith(QUICK_PAGES)]


@pytest.mark.parametrize("page", QUICK, ids=name_of)
def test_quick_commands_run(page: Path, tmp_path: Path) -> None:
    run_blocks(of(page), tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_all_commands_run(page: Path, tmp_path: Path) -> None:
    run_blocks(of(page), tmp_path, slow=True)


def test_a_failure_names_page_and_line(tmp_path: Path) -> None:
    text = "Text.\n\n```sh\nexport THIS=1\n\npython -c 'raise SystemExit(\"so it goes\")'\n```\n"
    with pytest.raises(Failed, match=r"a\.md:6: python -c(.|\n)*status 1\nso it goes"):
        run_blocks(blocks(text, "a.md"), tmp_path, slow=False)


def test_a_warm_command_fails_as_a_cold_one_does(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"a\.md:4: (.|\n)*status 1\n(.|\n)*'nothing' is no folder"):
        run_blocks(
            blocks("```sh\n\n\npython -m offline.check nothing\n```\n", "a.md"),
            tmp_path,
            slow=False,
        )


def test_marks_say_what_runs(tmp_path: Path) -> None:
    text = """\
<!-- not run: it would fail -->
```sh
false
```

<!-- slow: it waits -->
```sh
touch slow
```

```text
false
```

```sh
touch quick
```
"""
    for slow, count, files in ((False, 1, {"quick"}), (True, 2, {"quick", "slow"})):
        folder = tmp_path / str(slow)
        folder.mkdir()
        assert run_blocks(blocks(text), folder, slow=slow) == count
        assert {path.name for path in folder.iterdir()} - {"configs", "docs", "benchmarks"} == files


def test_python_of_a_page_shares_its_names_and_folder(tmp_path: Path) -> None:
    text = """\
```python
one = 1
```

```sh
test ! -e made
```

```python
open("made", "w").write(str(one + 1))
```
"""
    run_blocks(blocks(text, "docs/learn/a.md"), tmp_path, slow=False)
    assert (tmp_path / "made").read_text() == "2"


def test_what_goes_on_is_stopped_with_the_page(tmp_path: Path) -> None:
    serving = "import os, time; print(os.getpid(), 'http://here', flush=True); time.sleep(600)"
    text = f"""\
<!-- background: it serves -->
```sh
python -c "{serving}"
```

```sh
cp behind-0.txt seen.txt
```
"""
    (tmp_path / "page").mkdir()
    assert run_blocks(blocks(text), tmp_path / "page", slow=True) == 2
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "page" / "seen.txt").read_text().split()[0]), 0)


def test_what_should_go_on_and_ends_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no URL\nnothing"):
        Shell(tmp_path, warm=False).start(Command("a.md", 1, "echo nothing"))
