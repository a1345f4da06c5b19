"""The world of a config: its section, its arguments, whether it can be, who plays it."""

from __future__ import annotations

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


def check_buildable(world: World, algorithm: str, settings: Mapping[str, Any]) -> None:
    """Build the world for one user, and the algorithm's agent for it.

    Raises:
        ImportError: recsim is needed and not installed.
        ValueError: the world or the agent cannot be; other `BUILD_ERRORS` for devices.
    """
    from algorithms.registry import agent_class
    from envs.registry import make_simulator

    simulator = make_simulator(num_users=1, **world)
    agent_class(algorithm)(simulator.spec, simulator.history, simulator.slate_size, settings)


def build_error(layers: Sequence[Layer], env: EnvSection, error: Exception) -> ConfigError:
    """One of `BUILD_ERRORS` in one sentence, with where the world's description came from."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, ImportError):
        return ConfigError(lines[0])
    places = [("env", key) for key in ("name", "device", *env.arguments)]
    sources = dict.fromkeys(origin(layers, place) for place in [*places, ("history",)])
    changed = [source for source in sources if source != layers[0][0]]
    return ConfigError(f"{', '.join(changed or sources)}: {lines[0]}")


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
