"""Which environments Gymnasium knows, and what their constructors take."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

_OURS = "envs."
_NOT_ARGUMENTS = ("self", "render_mode", "kwargs", "args")


def is_gymnasium_id(name: str) -> bool:
    """Whether Gymnasium's registry has an environment of this name that is not one of our worlds.

    Ours are registered there too, as views of simulators; they are made by their own names.
    """
    spec = gymnasium.registry.get(name)
    return spec is not None and not str(spec.entry_point).startswith(_OURS)


def parameters(name: str) -> dict[str, Any]:
    """Arguments of an environment's constructor with their types, and `max_steps`.

    Raises:
        ValueError: the environment needs a package that is not installed.
    """
    entry_point = gymnasium.spec(name).entry_point
    try:
        creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    except (ImportError, gymnasium.error.Error) as error:
        raise ValueError(f"the environment '{name}' cannot be imported: {error}") from None
    constructor: Any = creator.__init__ if inspect.isclass(creator) else creator
    try:
        hints = typing.get_type_hints(constructor)
    except (NameError, TypeError):  # names that exist for type checkers only
        hints = {}
    found = {}
    for key, parameter in inspect.signature(constructor).parameters.items():
        if key not in _NOT_ARGUMENTS:
            hint = hints.get(key, Any)
            # Many declare `desc: list[str] = None`.
            found[key] = hint | None if parameter.default is None and hint is not Any else hint
    return {**found, "max_steps": int | None}
