"""Every command explains itself: each option has a help text, and 80 columns are enough."""

from __future__ import annotations

import pytest
import typer

from docs._site.commands import WIDTH, application, command_modules, help_of

MODULES = command_modules()


def test_commands_are_found() -> None:
    assert {"algorithms.train", "offline.check", "serve.run"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_help_reads_well(module: str) -> None:
    text = help_of(module)
    too_long = [line for line in text.splitlines() if len(line) > WIDTH]
    assert not too_long
    assert "\x1b" not in text
    command = typer.main.get_command(application(module))
    assert command.help and command.help.strip().split("\n")[0].endswith((".", ";", "."))
    for parameter in command.params:
        if parameter.name in ("help", "version"):
            continue
        said = getattr(parameter, "help", None)
        assert said, f"{module} {parameter.opts} has no help text"
        assert max(parameter.opts, key=len) in text or parameter.param_type_name == "argument"
        assert said.strip().endswith((".", "'")), (
            f"{module} {parameter.opts}: {said!r} has no full stop"
        )
        assert " ".join(said.split()[:3]) in " ".join(text.split())
