"""The site: every page has its place, nothing is loaded from elsewhere, no warning."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mkdocs.config import load_config

from docs._site.pages import PACKAGES, modules, on_config, placed, unplaced
from tests.docs.pages import ROOT

FETCHED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(https?:)?//[^"'>]+"""
)


def test_every_page_has_its_place_in_the_navigation() -> None:
    config = load_config(str(ROOT / "mkdocs.yml"))
    named = placed(config.nav)
    nav = placed(on_config(config).nav)
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    made = {"index.md", "commands.md", "contributing.md", "changelog.md"}
    assert named - written == made, "these pages of `nav` in mkdocs.yml do not exist"
    assert written <= nav and "reference/envs.choice.md" in nav


def test_a_page_that_is_not_named_is_found() -> None:
    assert "log.md" not in unplaced([{"Topics": ["log.md", {"More": "ope.md"}]}])
    assert "offline.md" in unplaced([{"Topics": ["log.md", {"More": "ope.md"}]}])


def test_every_public_module_has_a_docstring_for_the_reference() -> None:
    for package in PACKAGES:
        found = modules(package)
        assert package in found and len(found) > 10
        files = {
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for path in (ROOT / package).rglob("*.py")
            if not any(part.startswith("_") and part != "__init__.py" for part in path.parts)
        }
        assert files - set(found) == set()


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    reference = tmp_path / "reference" / "envs.choice.html"
    assert "multinomial" in reference.read_text()
    for page in tmp_path.rglob("*.html"):
        fetched = [
            match[0]
            for match in FETCHED.finditer(page.read_text())
            if 'rel="canonical"' not in match[0]
        ]
        assert not fetched, f"{page.name} loads {fetched[0]}"
