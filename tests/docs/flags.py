"""Whether a command of ours exists with the flags it is written with, without running it."""

from __future__ import annotations

import importlib.util
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

OURS = ("envs", "algorithms", "offline", "serve", "benchmarks")


def application(module: str) -> Any:
    """The command of a module of ours, or None where it has no options of its own."""
    app = getattr(import_module(module), "app", None)
    return typer.main.get_command(app) if isinstance(app, typer.Typer) else None


def split(text: str) -> tuple[str, list[str]]:
    """Module and arguments of `python -m MODULE ...`."""
    words = shlex.split(text.removeprefix("$ "), comments=True)
    stop = next((i for i, word in enumerate(words) if word in {"|", "&", ">", "&&", ";"}), None)
    words = words[:stop]
    return words[2], words[3:]


def fault(text: str) -> str | None:
    """What is wrong with a command as it is written, in one sentence."""
    module, arguments = split(text)
    if module.split(".")[0] not in OURS:
        return None
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        return f"there is no module {module}"
    command = application(module)
    if command is None:
        return None
    if hasattr(command, "commands"):
        chosen, *arguments = arguments or ["none"]
        if chosen not in command.commands:
            return f"{module} has no command {chosen!r}"
        command = command.commands[chosen]
    parser = command.make_parser(command.context_class(command, info_name=module))
    try:
        values, beyond, _ = parser.parse_args(list(arguments))
    except Exception as error:
        return str(getattr(error, "message", error))
    if beyond:
        return f"{module} takes no further argument {beyond[0]!r}"
    return _config_fault(module, values)


def _config_fault(module: str, values: dict[str, Any]) -> str | None:
    """What `--config` and `--set` of a training would be refused for."""
    from algorithms.config import ConfigError, load_config
    from algorithms.registry import algorithm_names

    name, file = values.get("name"), values.get("config")
    if file is not None and str(file).startswith("configs/") and not Path(file).is_file():
        return f"there is no {file}"
    if file is not None and str(file).startswith("runs/"):
        file = None  # an earlier command of the page writes it
    if module != "algorithms.train" or name not in algorithm_names():
        return None
    overrides = [change for change in values.get("overrides") or [] if "=LOG" not in change]
    if any(word.isupper() for word in overrides):
        return None
    try:
        load_config(name, None if file is None else Path(file), overrides, {})
    except ConfigError as error:
        return str(error)
    return None
