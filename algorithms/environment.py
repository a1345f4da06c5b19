"""The world of a config: its section, its arguments, whether it can be, who plays it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ConfigDict, create_model

from algorithms.layers import (
    ConfigError,
    Layer,
    Plain,
    Section,
    known,
    merge,
    origin,
    validated,
)

Backend = Literal["torch", "google"]

World = Mapping[str, Any]
"""Arguments of `envs.registry.make_simulator`, but for the number of users and the seed."""

BUILD_ERRORS = (ImportError, ValueError, TypeError, RuntimeError, AssertionError)
"""What building a world raises for what a user may have written; torch's for devices."""


class EnvSection(Section):
    """The world; further keys are arguments of the world.

    Attributes:
        name: of the world, `module:Class` of one's own users, or an id of Gymnasium's.
        backend: `torch`, or `google` for the published RecSim code.
        device: where users live (torch only).
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    backend: Backend = "torch"
    device: str = "cpu"

    @property
    def arguments(self) -> Plain:
        """Those of the world."""
        return dict(self.model_extra or {})

    @property
    def world(self) -> Plain:
        """For `envs.registry.make_simulator`."""
        given = {"name": self.name, "backend": self.backend, "device": self.device}
        return {**given, **self.arguments}


class HistoryTerm(Section):
    """A term of the session history; see `envs.history.Term`."""

    what: str
    keep: float | str = "sum"
    scale: float = 1.0


def check_arguments(layers: Sequence[Layer], env: EnvSection) -> None:
    """Refuse arguments that the world does not take, or of a wrong type.

    Raises:
        ConfigError: names the key and the nearest valid one.
    """
    from envs.registry import parameters

    if ":" in env.name:
        return  # one's own users
    try:
        allowed = parameters(env.name)
    except ValueError as error:
        raise ConfigError(f"{origin(layers, ('env', 'name'))}: {error}") from None
    known(layers, ("env",), env.arguments, [*allowed, *EnvSection.model_fields])
    shape: dict[str, Any] = {key: (hint, None) for key, hint in allowed.items()}
    model = create_model("Arguments", __config__=ConfigDict(extra="forbid"), **shape)
    validated(layers, ("env",), model, env.arguments)


def check_playable(
    layers: Sequence[Layer], world: World, algorithm: str, settings: Mapping[str, Any]
) -> None:
    """Build the world for one user, and the algorithm's agent for it, which has to fit.

    Args:
        layers: that the world and the settings came from.
        world: checked arguments.
        algorithm: or baseline, by name.
        settings: of the agent, complete.

    Raises:
        ConfigError: one of them cannot be, or not with the other.
    """
    from algorithms.core.agent import check_agent
    from algorithms.registry import agent_class
    from envs.registry import make_simulator

    of_world = [*(("env", key) for key in world if key != "history"), ("history",)]
    try:
        simulator = make_simulator(num_users=1, **world)
    except BUILD_ERRORS as error:
        raise _build_error(layers, error, of_world) from None
    try:
        check_agent(agent_class(algorithm), simulator, settings)
    except BUILD_ERRORS as error:
        given = [(algorithm, key) for key in merge(layers).get(algorithm) or {}]
        words = re.findall(r"\w+", str(error))
        named = [place for place in given if place[1] in words]
        raise _build_error(layers, error, [*of_world, *named], given) from None


def _build_error(
    layers: Sequence[Layer], error: Exception, *causes: Sequence[tuple[str, ...]]
) -> ConfigError:
    """One of `BUILD_ERRORS` in one sentence, with where what caused it came from.

    Args:
        layers: in which the lowest is taken to be sound by itself.
        error: in any number of lines.
        causes: places that may be to blame; later ones if the user changed none of the earlier.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, ImportError):
        return ConfigError(lines[0])
    own = layers[0][0]
    for places in causes:
        sources = dict.fromkeys(origin(layers, place) for place in places)
        if changed := [source for source in sources if source != own]:
            return ConfigError(f"{', '.join(changed)}: {lines[0]}")
    return ConfigError(f"{own}: {lines[0]}")


def world_of(layers: Sequence[Layer]) -> Plain:
    """The checked world of layers that hold nothing but `env`.

    Raises:
        ConfigError: another key, or a world that cannot be.
    """
    data = merge(layers)
    known(layers, (), data, ["env"])
    env: EnvSection = validated(layers, ("env",), EnvSection, data.get("env"))
    check_arguments(layers, env)
    return env.world


def on_backend(world: World, backend: str) -> tuple[Plain, str | None]:
    """The same world on another backend, and a warning where that has to be torch.

    Raises:
        ImportError: recsim is needed and not installed.
    """
    name, changed = str(world["name"]), {**world, "backend": backend}
    if backend == "torch" and ":" not in name:
        return changed, None
    changed["backend"] = "google"
    changed.pop("device", None)
    from envs.recsim import google_world_names
    from envs.recsim.importing import recsim_importable

    if ":" not in name and name not in google_world_names():
        return {**changed, "backend": "torch"}, (
            f"Google's code has no environment '{name}'; our own simulator plays it"
        )
    with recsim_importable():
        pass
    return changed, None
