"""Pages of the site that are made and not written: home, commands, reference.

MkDocs calls `on_config` and `on_files`. Modules are found by their files and read by
griffe, so building the reference imports nothing of ours.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGES = ("envs", "algorithms", "offline", "serve")
COPIED = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
LINK = re.compile(r"\]\((?!https?:|#|mailto:)(?:docs/)?([^)]+)\)")


def modules(package: str) -> list[str]:
    """Public modules of a package, in order; a package stands for its `__init__.py`."""
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts) and documented(path):
            found.append(".".join(parts))
    return sorted(found)


def documented(path: Path) -> bool:
    """Whether a module says anything."""
    return ast.get_docstring(ast.parse(path.read_text())) is not None


def page_of(module: str) -> str:
    """Where a module's page lies among the sources."""
    return f"reference/{module}.md"


def placed(entry: Any) -> set[str]:
    """Pages within an entry of the navigation."""
    if isinstance(entry, str):
        return {entry}
    values = entry.values() if isinstance(entry, dict) else entry
    return {page for value in values for page in placed(value)}


def unplaced(nav: list[Any]) -> list[str]:
    """Pages of `docs/` that the navigation does not name."""
    there = (path for path in (ROOT / "docs").rglob("*.md") if "_site" not in path.parts)
    return sorted({path.relative_to(ROOT / "docs").as_posix() for path in there} - placed(nav))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give every public module, and every page that is not named, a place in the navigation."""
    reference: list[Any] = [
        {package: [{name: page_of(name)} for name in modules(package)]} for package in PACKAGES
    ]
    nav = config.nav or []
    (topics,) = (entry["Topics"] for entry in nav if "Topics" in entry)
    topics.extend(unplaced(nav))
    nav.insert(len(nav) - 1, {"Reference": reference})
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that come from elsewhere in the repository."""
    for page, source in COPIED.items():
        text = LINK.sub(r"](\1)", (ROOT / source).read_text())
        for other, original in COPIED.items():
            text = text.replace(f"]({original})", f"]({other})")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "commands.md", content=commands()))
    for package in PACKAGES:
        for module in modules(package):
            text = f"# `{module}`\n\n::: {module}\n"
            files.append(File.generated(config, page_of(module), content=text))
    return files


def commands() -> str:
    """The page of commands, from their own `--help`."""
    from docs._site.commands import page

    return page()
