"""Finds the worlds of this package and makes simulators of them by name.

Adding a world is adding a folder with a `WORLD` in its `__init__.py`.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium
import torch

from envs import from_gymnasium
from envs.history import History
from envs.simulator import Simulator, TorchSimulator, World

BACKENDS = ("torch", "google")
NOISES = ("addressed", "stream")


@cache
def _worlds() -> dict[str, type[World]]:
    found: dict[str, type[World]] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.ispkg and module.name != "recsim":
            package = importlib.import_module(f"envs.{module.name}")
            worlds = getattr(package, "WORLDS", {module.name: getattr(package, "WORLD", None)})
            found.update({name: world for name, world in worlds.items() if world is not None})
    return dict(sorted(found.items()))


def world_names() -> list[str]:
    """Names of all worlds, sorted."""
    return list(_worlds())


def world_class(name: str) -> type[World]:
    """The world called `name`.

    Raises:
        ValueError: there is none; names the nearest.
    """
    worlds = _worlds()
    if name not in worlds:
        others = filter(from_gymnasium.is_gymnasium_id, gymnasium.registry)
        near = difflib.get_close_matches(name, [*worlds, *others], 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(worlds)}"
        raise ValueError(f"unknown environment '{name}'; {hint}")
    return worlds[name]


def parameters(name: str) -> dict[str, Any]:
    """Arguments of the constructor of a world, or of an environment of Gymnasium's, and types.

    Raises:
        ValueError: there is none of that name; names the nearest.
    """
    if from_gymnasium.is_gymnasium_id(name):
        return from_gymnasium.parameters(name)
    constructor = world_class(name).__init__
    hints = typing.get_type_hints(constructor)
    names = [key for key in inspect.signature(constructor).parameters if key != "self"]
    return {key: hints.get(key, Any) for key in names}


def check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that a world's constructor does not take."""
    allowed = list(parameters(name))
    for key in arguments:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"it takes: {', '.join(allowed)}"
            raise ValueError(f"environment '{name}' takes no argument '{key}'; {hint}")


def make_simulator(
    name: str,
    num_users: int,
    *,
    seed: int = 0,
    backend: str = "torch",
    noise: str = "addressed",
    history: Sequence[Mapping[str, Any]] | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    replace: bool = True,
    **arguments: Any,
) -> Simulator:
    """A simulator of `num_users` users side by side.

    Args:
        name: of the world, `module:Class` of one's own users (see `envs.recsim`), or
            an id of Gymnasium's registry, such as `CartPole-v1`.
        num_users: B.
        seed: of all luck.
        backend: `torch`, or `google` for the published RecSim code.
        noise: `addressed` or `stream`; Google's code, one's own users and Gymnasium's
            environments always get luck addressed by user.
        history: terms as in `envs.history.Term`; the world's own if not given.
        device: where users live; Google's code and one's own users know only the CPU.
        dtype: of all numbers.
        replace: whether users who finish are replaced.
        **arguments: of the world.

    Raises:
        ValueError: an unknown name or backend, or arguments that make no sense.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is '{backend}'; allowed are: {', '.join(BACKENDS)}")
    if noise not in NOISES:
        raise ValueError(f"noise is '{noise}'; allowed are 'addressed' and 'stream'")
    elsewhere = backend == "google" or ":" in name
    if elsewhere or from_gymnasium.is_gymnasium_id(name):
        if torch.device(device).type != "cpu":
            raise ValueError(
                f"device is '{device}', but users of RecSim's and Gymnasium's classes live on the "
                "CPU; set device to cpu"
            )
    if elsewhere:
        from envs.recsim import make_google_simulator

        return make_google_simulator(
            name,
            num_users,
            seed=seed,
            history=history,
            replace=replace,
            dtype=dtype,
            **arguments,
        )
    check_arguments(name, arguments)
    if from_gymnasium.is_gymnasium_id(name):
        return from_gymnasium.GymnasiumSimulator(
            name,
            num_users,
            seed=seed,
            history=history or (),
            replace=replace,
            dtype=dtype,
            **arguments,
        )
    world = world_class(name)(**arguments)
    memory = None if history is None else History.from_json(world.spec, history)
    return TorchSimulator(
        world,
        num_users,
        seed=seed,
        noise=noise,
        history=memory,
        dtype=dtype,
        device=device,
        replace=replace,
    )


def gymnasium_id(name: str) -> str:
    """The Gymnasium id of a world: `boredom_at_home` is `RecSim/BoredomAtHome-v1`."""
    return f"RecSim/{''.join(part.capitalize() for part in name.split('_'))}-v1"


def register_all() -> None:
    """Register every world with Gymnasium."""
    for name in world_names():
        if gymnasium_id(name) not in gymnasium.registry:
            gymnasium.register(
                gymnasium_id(name),
                entry_point="envs.views:RecSimEnv",
                vector_entry_point="envs.views:RecSimVectorEnv",
                kwargs={"name": name},
            )


def register_with_rllib() -> None:
    """Register every world with RLlib, by its name and by its Gymnasium id.

    `config.environment("interest_evolution", env_config={"slate_size": 2})`
    then works, on remote workers too.
    """
    from ray.tune.registry import register_env

    for name in world_names():
        for known_as in (name, gymnasium_id(name)):
            register_env(known_as, partial(_make_env, name))


def _make_env(name: str, config: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    from envs.views import RecSimEnv

    return RecSimEnv(name, **config)
