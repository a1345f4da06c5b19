"""From a config with a `tune:` section to what every trial runs, everything checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.config import RunConfig, parse
from algorithms.environment import on_backend
from algorithms.layers import (
    ConfigError,
    Layer,
    Plain,
    command_layers,
    default_layer,
    known,
    merge,
    packaged_layer,
    validated,
)
from algorithms.registry import algorithm
from algorithms.tuning.rungs import first_rung, rungs
from algorithms.tuning.schema import TuneSection
from algorithms.tuning.space import Dimension, Point, at, entries, nested, read_space

_TUNING_USERS, _SEARCH = 0x7E57, 0x5EA5C4
"""Which of the streams that are spawned from a seed."""


@dataclass(frozen=True)
class Plan:
    """All of a search but its trials.

    Attributes:
        layers: of the run's config, without `tune`.
        config: what they make, the start of the search.
        section: how it goes.
        space: what it searches.
    """

    layers: tuple[Layer, ...]
    config: RunConfig
    section: TuneSection
    space: tuple[Dimension, ...]

    @property
    def first_reading(self) -> int:
        """Steps before which no trial is stopped."""
        budget, section = self.config.train.env_steps, self.section
        return section.first_reading or first_rung(budget, section.reduction or 1)

    @property
    def readings(self) -> list[int]:
        """Steps at which a trial is judged."""
        budget = self.config.train.env_steps
        return rungs(budget, self.first_reading, self.section.reduction)

    @property
    def world(self) -> Plain:
        """Where trials are judged: our own users, whoever plays the evaluation at the end."""
        return on_backend(self.config.world, "torch")[0]

    @property
    def tuning_seed(self) -> int:
        """Of the luck of the users who judge; see `tuning_seed`."""
        return tuning_seed(self.config.evaluate.seed)

    def search_seed(self, done: int) -> int:
        """Of the search, when so many trials are behind it."""
        words = np.random.SeedSequence((self.config.seed, _SEARCH, done)).generate_state(1)
        return int(words[0])

    def start(self) -> Point | None:
        """Where in the space the config itself stands; `None` outside."""
        plain = self.config.to_plain()
        found = {each.key: each.place(at(plain, each.key)) for each in self.space}
        point: Point = {key: value for key, value in found.items() if value is not None}
        return point if len(point) == len(found) else None

    def settings(self, point: Mapping[str, Any]) -> Plain:
        """What a point means for the config, by key with dots."""
        return {each.key: each.value(point[each.key]) for each in self.space}

    def trial_config(self, settings: Mapping[str, Any]) -> RunConfig:
        """The config of a trial.

        Raises:
            ConfigError: the settings do not go together.
        """
        above: list[Layer] = [("the trial", nested(*item)) for item in settings.items()]
        train = {"evaluate_every": None, "keep_checkpoints": 1, "torch_threads": 1, "record": None}
        return parse([*self.layers, *above, ("the search", {"workers": 0, "train": train})])

    def best_config(self, settings: Mapping[str, Any]) -> Plain:
        """The same as a user would write it: with the user's own training, evaluation and workers.

        Schedules that nobody gave an end follow the budget, also another one.
        """
        above: list[Layer] = [("the trial", nested(*item)) for item in settings.items()]
        config, name = parse([*self.layers, *above]), self.config.algorithm
        plain, given = config.to_plain(), merge(self.layers).get(name) or {}
        if "schedule_steps" in plain[name] and given.get("schedule_steps") is None:
            plain[name]["schedule_steps"] = None
        return plain


def tuning_seed(reported: int) -> int:
    """The seed of users that no evaluation of a run with that seed of reported users meets.

    63 bits of a stream of its own, where evaluations take the seed itself and, for
    learning curves, the next.
    """
    words = np.random.SeedSequence((reported, _TUNING_USERS)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def load_plan(
    name: str,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Plan:
    """What a command asks for, checked.

    Args:
        name: of the algorithm.
        file: a YAML file to lay over the algorithm's own.
        overrides: `key=value` with dots in the key.
        changes: the same from flags of the command; `None` is no change.

    Raises:
        ConfigError: anything is wrong with any of it; one sentence.
    """
    try:
        algorithm(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    own, *above = command_layers(name, default_layer(name), file, overrides, changes or {})
    packaged = packaged_layer(f"tune/{name}")
    return make_plan([own, *([packaged] if packaged else []), *above])


def make_plan(layers: Sequence[Layer]) -> Plan:
    """The plan of layers, some of which have a `tune` section.

    Raises:
        ConfigError: anything is wrong with any of it; one sentence.
    """
    tuned: list[Layer] = []
    space: dict[str, Any] = {}
    for source, data in layers:
        if "tune" not in data:
            continue
        section = data["tune"]
        if section is None:
            tuned, space = [], {}
            continue
        if not isinstance(section, dict):
            raise ConfigError(f"{source}: tune must hold keys and values")
        found = entries(source, section.get("space") or {})
        space |= found
        entry = merge([("", nested(key, value)) for key, value in found.items()])
        tuned.append((source, {"tune": {**section, "space": entry}}))
    rest = tuple(
        (source, {k: v for k, v in data.items() if k != "tune"}) for source, data in layers
    )
    plain = {k: v for k, v in merge(tuned).get("tune", {}).items() if k != "space"}
    known(tuned, ("tune",), plain, [*TuneSection.model_fields, "space"])
    checked: TuneSection = validated(tuned, ("tune",), TuneSection, plain)
    config = parse(rest)
    _check_first(config, checked)
    dimensions = read_space(
        tuned or layers, config.algorithm, space, lambda layer: parse([*rest, layer])
    )
    _check_users(config, dimensions)
    return Plan(rest, config, checked, dimensions)


def _check_first(config: RunConfig, section: TuneSection) -> None:
    budget, first = config.train.env_steps, section.first_reading
    if first is None:
        return
    if section.reduction is None:
        raise ConfigError(
            f"tune.first_reading is {first}, which does nothing: with tune.reduction null no "
            "trial is stopped; leave it at null, or set tune.reduction"
        )
    if first > budget:
        raise ConfigError(
            f"tune.first_reading is {first}, beyond the budget of {budget} steps; lower it, or "
            "raise train.env_steps"
        )


def _check_users(config: RunConfig, space: Sequence[Dimension]) -> None:
    """Numbers within a range, other than its ends and choices, were not tried on the config."""
    for each in space:
        if each.key == "train.users" and each.searched.choices is None and config.workers > 1:
            raise ConfigError(
                f"tune.space cannot hold a range of train.users, which {config.workers} workers "
                "cannot always share equally; give choices that they can, or set workers to 0"
            )


def as_plain(plan: Plan) -> Plain:
    """The plan as one file, which `make_plan` reads back."""
    space = {each.key: _entry(each) for each in plan.space}
    section = {**json.loads(plan.section.model_dump_json()), "space": space}
    return {**merge(plan.layers), "tune": section}


def _entry(dimension: Dimension) -> Plain:
    plain: Plain = json.loads(dimension.searched.model_dump_json(exclude_defaults=True))
    return plain
