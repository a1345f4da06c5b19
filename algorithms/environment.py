"""What the commands ask of worlds: their arguments, whether they can be, who plays them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from algorithms.registry import agent_class
from envs.registry import make_simulator, world_class

World = Mapping[str, Any]
"""Arguments of `envs.registry.make_simulator`, but for the number of users and the seed."""


def parameters(name: str) -> dict[str, Any] | None:
    """Arguments of a world's constructor and their types; `None` for one's own users.

    Raises:
        ValueError: there is no such world; names the nearest.
    """
    if ":" in name:
        return None
    constructor = world_class(name).__init__
    hints = typing.get_type_hints(constructor)
    known = [key for key in inspect.signature(constructor).parameters if key != "self"]
    return {key: hints.get(key, Any) for key in known}


def check_world(world: World, algorithm: str, settings: Mapping[str, Any]) -> None:
    """Build the world for one user, and the algorithm's agent for it.

    Raises:
        ImportError: recsim is needed and not installed.
        ValueError: the world or the agent cannot be; other errors of torch for devices.
    """
    simulator = make_simulator(num_users=1, **world)
    agent_class(algorithm)(simulator.spec, simulator.history, simulator.slate_size, settings)


def on_backend(world: World, backend: str) -> tuple[dict[str, Any], str | None]:
    """The same world on another backend, and a warning where that has to be torch.

    Raises:
        ImportError: recsim is needed and not installed.
    """
    name, changed = str(world["name"]), {**world, "backend": backend}
    if ":" in name:
        return {**changed, "backend": "google"}, None
    if backend == "torch":
        return changed, None
    changed.pop("device", None)
    from envs.recsim import google_world_names
    from envs.recsim.importing import recsim_importable

    if name not in google_world_names():
        return {**changed, "backend": "torch"}, (
            f"Google's code has no environment '{name}'; it is evaluated with our own"
        )
    with recsim_importable():
        pass
    return changed, None
