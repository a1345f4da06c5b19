"""Finds Google's worlds and users' own by name, and makes simulators of them."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from envs.history import History
from envs.recsim.composition import Composition
from envs.recsim.importing import load_object
from envs.recsim.simulator import GoogleSimulator
from envs.registry import world_class

_WORLDS = Path(__file__).parent / "worlds"


def google_world_names() -> list[str]:
    """Names of the worlds that Google's code can play, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules([str(_WORLDS)]))


def composition_of(name: str, **arguments: Any) -> Composition:
    """The world called `name`, or at `module:name`, with arguments.

    Args:
        name: of one of Google's worlds, or the address of a class or function
            of one's own that returns a `Composition`.
        **arguments: those of the torch world, and `resample_documents`; or
            those of one's own class.

    Raises:
        ModuleNotFoundError: recsim is not installed.
        ValueError: an unknown name, or arguments that make no sense.
    """
    if ":" in name:
        return _own(name, arguments)
    if name not in google_world_names():
        world_class(name)
        raise ValueError(
            f"Google's RecSim has no environment '{name}'; with `backend: google` there are: "
            f"{', '.join(google_world_names())}"
        )
    module = importlib.import_module(f"envs.recsim.worlds.{name}")
    extra = [p for p in inspect.signature(module.composition).parameters if p != "parameters"]
    shared = inspect.signature(world_class(name)).parameters
    _check_arguments(name, arguments, [*shared, *extra])
    parameters = {key: value for key, value in arguments.items() if key in shared}
    options = {key: value for key, value in arguments.items() if key not in shared}
    return _checked(name, module.composition(parameters, **options))


def make_google_simulator(
    name: str,
    num_users: int,
    *,
    seed: int = 0,
    history: Sequence[Mapping[str, Any]] | None = None,
    replace: bool = True,
    dtype: torch.dtype = torch.float32,
    **arguments: Any,
) -> GoogleSimulator:
    """A simulator of `num_users` users of Google's code, or of one's own.

    Args:
        name: see `composition_of`.
        num_users: B.
        seed: of all luck, from 0 up.
        history: terms as in `envs.history.Term`; the world's own if not given.
        replace: whether users who finish are replaced.
        dtype: of all numbers.
        **arguments: of the world.

    Raises:
        ModuleNotFoundError: recsim is not installed.
        ValueError: an unknown name, or arguments that make no sense.
    """
    composition = composition_of(name, **arguments)
    memory = None if history is None else History.from_json(composition.spec, history)
    return GoogleSimulator(
        composition, num_users, seed=seed, history=memory, replace=replace, dtype=dtype
    )


def _own(address: str, arguments: Mapping[str, Any]) -> Composition:
    factory: Callable[..., Any] = load_object(address)
    if isinstance(factory, Composition):
        raise ValueError(
            f"'{address}' is a finished composition; name a class or function that returns "
            "one, so that every run builds its own"
        )
    if not callable(factory):
        raise ValueError(f"'{address}' is a {type(factory).__name__}, not a class or function")
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # some built-in classes tell nothing
        parameters = inspect.signature(lambda **anything: None).parameters
    if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        _check_arguments(address, arguments, list(parameters))
    return _checked(address, factory(**arguments))


def _checked(name: str, made: Any) -> Composition:
    if not isinstance(made, Composition):
        raise ValueError(
            f"'{name}' returned a {type(made).__name__}; it must return what "
            "envs.recsim.compose returns"
        )
    return made


def _check_arguments(name: str, arguments: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for key in arguments:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"it takes: {', '.join(allowed)}"
            raise ValueError(f"environment '{name}' takes no argument '{key}'; {hint}")
