"""Every command with its options, as `--help` prints them."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import typer
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
PACKAGES = ("algorithms", "offline", "serve")
WIDTH = 80


def command_modules() -> list[str]:
    """Modules that `python -m` starts: those that hold a Typer application, in order."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if any(_is_app(node) for node in ast.parse(path.read_text()).body)
    ]


def _is_app(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "app"
        and "typer.Typer(" in ast.unparse(node.value)
    )


def application(module: str) -> typer.Typer:
    """The application of such a module."""
    app = import_module(module).app
    assert isinstance(app, typer.Typer)
    return app


def help_of(module: str) -> str:
    """What `python -m MODULE --help` prints on a terminal of 80 columns.

    Raises:
        RuntimeError: it ends with another status than 0.
    """
    runner = CliRunner(env={"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1"})
    done = runner.invoke(application(module), ["--help"], prog_name=f"python -m {module}")
    if done.exit_code:
        raise RuntimeError(f"{module} --help ends with status {done.exit_code}")
    return done.output


def page() -> str:
    """The page, a heading and a block for each command."""
    parts = [
        "# Commands",
        "As each says itself with `--help`. A user's mistake is one sentence on standard error "
        "and status 2; an interrupted run has status 130 and says how to go on.",
    ]
    for module in command_modules():
        parts.append(f"## {module}\n\n```text\n{help_of(module).strip()}\n```")
    return "\n\n".join(parts) + "\n"
