"""From the file of a comparison to the runs that it takes, everything checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algorithms.comparison.schema import ComparisonFile, EntrySection, EnvironmentSection
from algorithms.config import EvaluateSection, RunConfig, parse
from algorithms.environment import (
    BUILD_ERRORS,
    EnvSection,
    check_arguments,
    check_playable,
    on_backend,
)
from algorithms.layers import (
    ConfigError,
    Layer,
    Plain,
    default_layer,
    merge,
    override_layer,
    read_layer,
    validated,
)
from algorithms.registry import agent_names, algorithm_names, nearest
from envs.registry import make_simulator

DECIDED = ("algorithm", "env", "seed", "workers", "train.torch_threads", "evaluate")
"""Keys of a run's config that the comparison itself decides."""


@dataclass(frozen=True)
class Job:
    """One run: a policy to train, or a baseline to play.

    Attributes:
        name: of its folder.
        label: of its entry.
        environment: label of its world.
        algorithm: the name.
        config: of the training; `None` for a baseline.
        world: where its policy is evaluated.
        evaluate: with which users.
    """

    name: str
    label: str
    environment: str
    algorithm: str
    config: RunConfig | None
    world: Plain
    evaluate: EvaluateSection

    @property
    def seed(self) -> int | None:
        """Of the training; `None` for a baseline."""
        return None if self.config is None else self.config.seed

    @property
    def budget(self) -> int:
        """User-steps to train."""
        return 0 if self.config is None else self.config.train.env_steps

    def settings(self) -> Plain:
        """All that decides its numbers, as plain data."""
        if self.config is not None:
            return self.config.to_plain()
        return {
            "algorithm": self.algorithm,
            "world": self.world,
            "evaluate": self.evaluate.model_dump(),
        }


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        title: above the picture.
        file: its checked content.
        jobs: every run that it takes.
        warnings: what the user should know before it starts.
    """

    title: str
    file: ComparisonFile
    jobs: tuple[Job, ...]
    warnings: tuple[str, ...] = ()

    @property
    def environments(self) -> list[str]:
        """Labels in the file's order."""
        return [section.shown for section in self.file.environments]

    @property
    def against(self) -> str:
        """Label of the entry that differences are taken to."""
        return self.file.against or self.file.entries[0].shown

    def published(self, label: str, environment: str) -> float | None:
        """The return that somebody else reports."""
        entry = next(
            entry
            for entry in self.file.entries
            if entry.shown == label and _plays_in(entry, environment)
        )
        if isinstance(entry.published, dict):
            return entry.published.get(environment)
        return entry.published


def load_comparison(path: Path, overrides: Sequence[str] = ()) -> Comparison:
    """Read a file and check all of it, down to every run's world and agent.

    Raises:
        ConfigError: anything is wrong with any of it; one sentence.
    """
    layers = [read_layer(path), *map(override_layer, overrides)]
    data = merge(layers)
    named = data.get("environments")
    if isinstance(named, list):
        data["environments"] = [{"name": e} if isinstance(e, str) else e for e in named]
    file: ComparisonFile = validated(layers, (), ComparisonFile, data)
    _check_labels(path, file)
    jobs: list[Job] = []
    warnings: dict[str, None] = {}
    for environment in file.environments:
        for entry in file.entries:
            if _plays_in(entry, environment.shown):
                found, warning = _jobs(path, file, entry, environment)
                jobs += found
                warnings |= {warning: None} if warning else {}
    return Comparison(file.title or path.stem, file, tuple(jobs), tuple(warnings))


def _plays_in(entry: EntrySection, environment: str) -> bool:
    return entry.environments is None or environment in entry.environments


def _check_labels(path: Path, file: ComparisonFile) -> None:
    """Refuse what names nothing, and two things that share a name."""
    for entry in file.entries:
        if entry.algorithm not in agent_names():
            raise ConfigError(
                f"{path}: unknown algorithm '{entry.algorithm}'; "
                f"{nearest(entry.algorithm, agent_names())}"
            )
    labels = [entry.shown for entry in file.entries]
    worlds = [environment.shown for environment in file.environments]
    _check_distinct(path, "environments", worlds)
    for world in worlds:
        here = [entry.shown for entry in file.entries if _plays_in(entry, world)]
        _check_distinct(path, f"entries on {world}", here)
    if file.against is not None and file.against not in labels:
        raise ConfigError(
            f"{path}: against is '{file.against}', which is no entry's label; "
            f"{nearest(file.against, labels)}"
        )
    for entry in file.entries:
        given = [part for part in (entry.config, entry.published) if isinstance(part, dict)]
        for world in (*(entry.environments or ()), *(key for part in given for key in part)):
            if world not in worlds:
                raise ConfigError(
                    f"{path}: '{entry.shown}' names the environment '{world}', which is not "
                    f"compared; {nearest(world, worlds)}"
                )


def _check_distinct(path: Path, what: str, labels: Sequence[str]) -> None:
    folders = [folder_name(label) for label in labels]
    for label, folder in zip(labels, folders, strict=True):
        if folders.count(folder) > 1:
            raise ConfigError(
                f"{path}: two {what} share the label '{label}'; give one another label"
            )


def folder_name(text: str) -> str:
    """A label as part of a folder's name: letters and digits, else single dashes."""
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-.")


def _jobs(
    path: Path, file: ComparisonFile, entry: EntrySection, environment: EnvironmentSection
) -> tuple[list[Job], str | None]:
    """The runs of an entry in an environment, and a warning about the evaluation's backend."""
    layer = (f"{path}: '{entry.shown}' on {environment.shown}", {"env": _world(entry, environment)})
    trains = entry.algorithm in algorithm_names()
    configs: list[RunConfig | None] = [None]
    if trains:
        config = _run_config(path, file, entry, environment, layer)
        world = config.world
        configs = [config.model_copy(update={"seed": seed}) for seed in file.seeds]
    else:
        world = _baseline_world(path, entry, layer)
    world = {key: value for key, value in world.items() if key != "history"}
    try:
        world, warning = on_backend(world, file.evaluate.backend)
        make_simulator(num_users=1, **world)
    except BUILD_ERRORS as error:
        raise ConfigError(f"{layer[0]}: {error}") from None
    stem = f"{folder_name(entry.shown)}-{folder_name(environment.shown)}"
    found = [
        Job(
            stem if config is None else f"{stem}-{config.seed}",
            entry.shown,
            environment.shown,
            entry.algorithm,
            config,
            world,
            file.evaluate,
        )
        for config in configs
    ]
    return found, warning


def _world(entry: EntrySection, environment: EnvironmentSection) -> Plain:
    return {**environment.world, **entry.env}


def _run_config(
    path: Path,
    file: ComparisonFile,
    entry: EntrySection,
    environment: EnvironmentSection,
    world: Layer,
) -> RunConfig:
    """The config of a run: the algorithm's own file, the entry's, the world, what is set.

    The world comes from the comparison alone, or entries would play in different ones.
    """
    layers = [default_layer(entry.algorithm)]
    given = entry.config
    found = given.get(environment.shown) if isinstance(given, dict) else given
    if found is not None:
        layers.append(read_layer((path.parent / found).resolve()))
    layers = [(source, _without_arguments(data)) for source, data in layers]
    for where, values in ((f"{path}", file.set), (f"{path}: '{entry.shown}'", entry.set)):
        layers += [(f"{where}, set", nested(where, key, value)) for key, value in values.items()]
    decided = {
        "algorithm": entry.algorithm,
        "workers": 0,
        "train": {"torch_threads": 1},
        "evaluate": json.loads(file.evaluate.model_dump_json()),
    }
    # The world before what is set, which may hold another history.
    at = len(layers) - len(file.set) - len(entry.set)
    return parse([*layers[:at], world, *layers[at:], ("the comparison", decided)])


def _without_arguments(data: Plain) -> Plain:
    """A config without its world's arguments; the name stays, because a history belongs to it."""
    env = data.get("env")
    if not isinstance(env, dict):
        return data
    return {**data, "env": {key: env[key] for key in ("name",) if key in env}}


def nested(where: str, key: str, value: Any) -> Plain:
    """`a.b` and a value as `{a: {b: value}}`.

    Raises:
        ConfigError: the comparison itself decides the key.
    """
    parts = key.split(".")
    data: Any = value
    for part in reversed(parts):
        data = {part: data}
    found: Plain = data
    for leaf, _ in _flat("", found):
        if not all(parts) or any(f"{leaf}.".startswith(f"{decided}.") for decided in DECIDED):
            hint = "use 'env' of the entry or 'environments'" if parts[0] == "env" else "remove it"
            raise ConfigError(
                f"{where}: set has the key '{leaf}', which the comparison decides; {hint}"
            )
    return found


def _baseline_world(path: Path, entry: EntrySection, layer: Layer) -> Plain:
    """The world of a policy that needs no training; what only training takes is refused."""
    for key in ("config", "set"):
        if getattr(entry, key):
            raise ConfigError(
                f"{path}: '{entry.shown}' trains nothing, so '{key}' has no place; remove it"
            )
    layers = [layer]
    env: EnvSection = validated(layers, ("env",), EnvSection, layer[1]["env"])
    check_arguments(layers, env)
    check_playable(layers, env.world, entry.algorithm, {})
    return env.world


def first_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first key, with dots, in which two configs differ, and both values; `None` for none."""
    before, now = dict(_flat("", found)), dict(_flat("", wanted))
    for key in {**now, **before}:
        old, new = before.get(key, "nothing"), now.get(key, "nothing")
        if old != new:
            return f"{key} {old}, now {new}"
    return None


def _flat(prefix: str, data: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value
