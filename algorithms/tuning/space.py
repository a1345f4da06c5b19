"""What a search may choose from: keys of a run's config, each with a range or choices."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from algorithms.config import RunConfig
from algorithms.layers import ConfigError, Layer, Plain, origin, validated
from algorithms.registry import algorithm, nearest
from algorithms.tuning.schema import Searched

Point = dict[str, float | int | str]
"""A place in the space as Optuna knows it; choices are JSON."""

_SPACE = ("tune", "space")
_DIGITS = 4
"""Significant ones of a number that is tried: nobody wants to read, or type, more."""


@dataclass(frozen=True)
class Dimension:
    """A key and what it may be.

    Attributes:
        key: with dots.
        searched: its range or choices.
        whole: whether only whole numbers do.
    """

    key: str
    searched: Searched
    whole: bool = False

    @property
    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        found = self.searched
        if found.choices is not None:
            return CategoricalDistribution([json.dumps(choice) for choice in found.choices])
        assert found.low is not None and found.high is not None
        if self.whole:
            return IntDistribution(int(found.low), int(found.high), log=found.log)
        return FloatDistribution(float(found.low), float(found.high), log=found.log)

    def value(self, chosen: float | int | str) -> Any:
        """What the config gets: numbers to four digits, within the range."""
        found = self.searched
        if found.choices is not None:
            return json.loads(str(chosen))
        assert found.low is not None and found.high is not None
        if self.whole:
            return int(chosen)
        return min(max(float(f"{float(chosen):.{_DIGITS}g}"), float(found.low)), float(found.high))

    def place(self, value: Any) -> float | int | str | None:
        """Where a value of the config stands; `None` outside."""
        found = self.searched
        if found.choices is not None:
            # As the choice is written: 1.0 of a config stands where a list has 1.
            same = (each for each in found.choices if _plain(each) == value)
            return next(map(json.dumps, same), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        assert found.low is not None and found.high is not None
        return value if found.low <= value <= found.high else None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def nested(key: str, value: Any) -> Plain:
    """`a.b` and a value as `{a: {b: value}}`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    found: Plain = value
    return found


def at(data: Mapping[str, Any], key: str) -> Any:
    """The value at a key with dots."""
    for part in key.split("."):
        data = data[part]
    return data


def entries(source: str, space: Any, prefix: str = "") -> dict[str, Any]:
    """A space's entries by key with dots, however the file nests them.

    Raises:
        ConfigError: it is no mapping; names the source.
    """
    if not isinstance(space, dict):
        raise ConfigError(
            f"{source}: tune.space must hold keys of the config, each with a range or choices"
        )
    found: dict[str, Any] = {}
    for key, value in space.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and not set(value) & set(Searched.model_fields):
            found |= entries(source, value, f"{name}.")
        else:
            found[name] = value
    return found


def allowed_keys(name: str) -> list[str]:
    """Keys that a search may set: the algorithm's settings, and how many users play how long.

    Neither the world, which is what is tuned for, nor the budget, at which trials are
    compared, nor `schedule_steps`, which follows the budget.
    """
    fields = algorithm(name).settings.model_fields
    own = [f"{name}.{field}" for field in fields if field != "schedule_steps"]
    return [*own, "train.users", "train.fragment"]


def _check_key(layers: Sequence[Layer], name: str, key: str) -> None:
    allowed = allowed_keys(name)
    if key in allowed:
        return
    where = origin(layers, (*_SPACE, *key.split(".")))
    last = key.rpartition(".")[2]
    same = [other for other in allowed if other.rpartition(".")[2] == last]
    hint = f"did you mean '{same[0]}'?" if same else nearest(key, allowed)
    raise ConfigError(f"{where}: tune.space cannot hold '{key}'; {hint}")


def read_space(
    layers: Sequence[Layer],
    name: str,
    found: Mapping[str, Any],
    build: Callable[[Layer], RunConfig],
) -> tuple[Dimension, ...]:
    """The dimensions of a search, each end and choice tried on the config.

    Args:
        layers: of the config, to say where a fault comes from.
        name: of the algorithm.
        found: entries by key with dots; null for one that is taken out.
        build: checks the run's config with a layer above it.

    Raises:
        ConfigError: anything is wrong with any of it; one sentence.
    """
    dimensions = []
    for key, entry in found.items():
        _check_key(layers, name, key)
        if entry is None:
            continue
        location = (*_SPACE, *key.split("."))
        if not isinstance(entry, dict):
            entry = {"choices": entry} if isinstance(entry, list) else {"low": entry}
        searched: Searched = validated(layers, location, Searched, entry)
        where = f"{origin(layers, location)}: tune.space"
        dimensions.append(_dimension(key, searched, where, build))
    if not dimensions:
        raise ConfigError(
            f"there is nothing to search for '{name}'; name keys under tune.space in --config, "
            f"as in {{tune: {{space: {{{allowed_keys(name)[0]}: {{low: 0.0, high: 0.5}}}}}}}}"
        )
    return tuple(dimensions)


def _dimension(
    key: str, searched: Searched, where: str, build: Callable[[Layer], RunConfig]
) -> Dimension:
    if searched.choices is not None:
        for choice in searched.choices:
            build((where, nested(key, choice)))
        return Dimension(key, searched)
    types = set()
    for end in (searched.low, searched.high):
        value = at(build((where, nested(key, end))).to_plain(), key)
        types.add(type(value))
    whole = types == {int}
    if not whole and types != {float}:
        raise ConfigError(f"{where}: '{key}' is no number; give a list of choices")
    return Dimension(key, searched, whole)
