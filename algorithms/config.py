"""The config of a run: one YAML file, strictly checked before anything starts.

Values are laid over each other: the algorithm's own file in `configs/`, the
user's file, `--set key=value`. What is wrong ends in one line that names the
key, where it came from, and the nearest valid key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from algorithms.environment import (
    Backend,
    EnvSection,
    HistoryTerm,
    check_arguments,
    check_playable,
)
from algorithms.layers import (
    ConfigError,
    Layer,
    Plain,
    Section,
    Seed,
    algorithm_of,
    command_layers,
    default_layer,
    known,
    validated,
)

if TYPE_CHECKING:
    from algorithms.core.settings import ActingSettings


class TrainSection(Section):
    """How much to train, and what to do meanwhile. Steps are user-steps.

    Attributes:
        env_steps: the budget.
        users: side by side, over all workers.
        fragment: steps that each user plays between two updates.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the last ones stay, besides the best.
        evaluate_every: steps between short evaluations for the curve; null for none.
        evaluate_users: fresh users in each of those, always the same.
        torch_threads: of this process; each worker has one.
        record: a folder to write a log of all that is played into; null for none.
        recorder: `module:function` that makes what writes it, of folder, world and algorithm.
    """

    env_steps: int = Field(3_000_000, ge=1)
    users: int = Field(256, ge=1)
    fragment: int = Field(32, ge=1)
    checkpoint_every: int = Field(500_000, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    evaluate_every: int | None = Field(500_000, ge=1)
    evaluate_users: int = Field(500, ge=2)
    torch_threads: int = Field(1, ge=1)
    record: str | None = None
    recorder: str = Field("offline.recording:training_recorder", pattern=r"^[\w.]+:\w+$")


class EvaluateSection(Section):
    """The evaluation at the end.

    Attributes:
        users: fresh ones, one session each.
        backend: `google` plays Google's own code where it has the world.
        seed: of their luck.
    """

    users: int = Field(2000, ge=2)
    backend: Backend = "google"
    seed: Seed = 1_000_003


class RunConfig(Section):
    """All of a run. The algorithm's settings stand under its name in a file."""

    algorithm: str
    seed: Seed = 0
    workers: int = Field(0, ge=0)
    env: EnvSection
    history: tuple[HistoryTerm, ...] | None = None
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        runners = max(1, self.workers)
        if self.train.users % runners:
            raise ValueError(
                f"train.users is {self.train.users}, which {self.workers} workers cannot share "
                f"equally; make it a multiple of {self.workers}"
            )
        return self

    @property
    def users_per_runner(self) -> int:
        """Side by side in each worker, or in the one process."""
        return self.train.users // max(1, self.workers)

    @property
    def keep_checkpoints(self) -> int:
        """How many of the last checkpoints stay."""
        return self.train.keep_checkpoints

    @property
    def world(self) -> Plain:
        """Arguments of `envs.registry.make_simulator` but for the number of users and the seed."""
        plain = self.env.world
        if self.history is not None:
            plain["history"] = [term.model_dump() for term in self.history]
        return plain

    def to_plain(self) -> Plain:
        """Plain data as it stands in a file; `parse` reads it back unchanged."""
        plain: Plain = json.loads(self.model_dump_json())
        plain[self.algorithm] = plain.pop("settings")
        return plain


def load_config(
    name: str,
    file: str | Path | None = None,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The config of a run, checked.

    Args:
        name: of the algorithm.
        file: a YAML file to lay over the algorithm's own.
        overrides: `key=value` with dots in the key, to lay over that.
        changes: the same from flags of a command, by key; `None` is no change.

    Raises:
        ConfigError: anything is wrong with any of it.
    """
    from algorithms.registry import algorithm

    try:
        algorithm(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    own = default_layer(name)
    path = None if file is None else Path(file)
    return parse(command_layers(name, own, path, overrides, changes or {}))


def parse(layers: Sequence[Layer]) -> RunConfig:
    """Check merged layers.

    Raises:
        ConfigError: an unknown key, a wrong type, or a combination that cannot be.
    """
    from algorithms.registry import algorithm

    data, name, entry = algorithm_of(layers, algorithm)
    keys = [key for key in RunConfig.model_fields if key != "settings"]
    known(layers, (), data, [*keys, name])
    settings: ActingSettings = validated(
        layers, (name,), entry.settings, data.pop(name, None) or {}
    )
    config: RunConfig = validated(layers, (), RunConfig, data)
    _check_world(layers, config, settings)
    filled = settings.model_dump(mode="json")
    if filled.get("schedule_steps", 0) is None:
        filled["schedule_steps"] = config.train.env_steps
    return config.model_copy(update={"settings": filled})


def _check_world(layers: Sequence[Layer], config: RunConfig, settings: ActingSettings) -> None:
    """Refuse arguments that the world does not take, and what cannot be built."""
    check_arguments(layers, config.env)
    check_playable(layers, config.world, config.algorithm, settings.model_dump())
