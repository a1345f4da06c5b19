"""Turns RecSim's spaces into features, and its observations into rows of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.spec import Feature, category, number, vector

Rows = NDArray[np.float64]
ANONYMOUS = number("anonymous", 0, 1)
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class _Column:
    """A feature and where its value lies in an observation."""

    feature: Feature
    path: tuple[str, ...]
    first: int  # of a category, the value that comes first
    is_category: bool

    def rows(self, observations: Sequence[Any]) -> Rows:
        """A row for each observation, (n, size)."""
        values = observations
        for key in self.path:
            values = [value[key] for value in values]
        numbers = _numbers(values)
        if self.is_category:
            numbers = numbers - self.first
            if self.feature.kind == "one_hot":
                numbers = (numbers == np.arange(self.feature.size)).astype(np.float64)
        if numbers.shape[1] != self.feature.size:
            raise ValueError(
                f"feature '{self.feature.name}' has {numbers.shape[1]} numbers, but its space "
                f"declares {self.feature.size}"
            )
        return numbers


@dataclass(frozen=True)
class Layout:
    """The features of a space, in a fixed order.

    Attributes:
        features: dictionary entries in alphabetical order; `anonymous` where
            the space is empty.
    """

    features: tuple[Feature, ...]
    _columns: tuple[_Column, ...]

    @classmethod
    def of(cls, space: Any, name: str) -> Layout:
        """The layout of a Gym or Gymnasium space.

        Args:
            space: Box, Discrete, MultiBinary, or a Dict of them.
            name: of the feature where the space is not a Dict.

        Raises:
            ValueError: a space of another kind.
        """
        columns = tuple(_columns(space, name, ()))
        features = tuple(column.feature for column in columns)
        return cls(features or (ANONYMOUS,), columns)

    def encode(self, observations: Sequence[Any]) -> Rows:
        """Observations as rows, (len(observations), size), in double precision.

        Raises:
            ValueError: a value is missing, not finite, or outside its declared range.
        """
        if not self._columns:
            return np.ones((len(observations), 1))
        try:
            blocks = [column.rows(observations) for column in self._columns]
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"an observation does not match its space: {type(error).__name__} {error}"
            ) from error
        rows = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
        if not ((rows >= self._least) & (rows <= self._most)).all():
            for column, block in zip(self._columns, blocks, strict=True):
                _explain(column.feature, block)
        return rows

    @cached_property
    def _least(self) -> Rows:
        return np.concatenate([np.full(f.size, _bounds(f)[0]) for f in self.features])

    @cached_property
    def _most(self) -> Rows:
        return np.concatenate([np.full(f.size, _bounds(f)[1]) for f in self.features])


def _numbers(values: Sequence[Any]) -> Rows:
    """Numbers or arrays of one shape as rows, (len(values), size); always a copy."""
    first = values[0]
    if isinstance(first, np.ndarray) and first.ndim == 1 and len(set(map(len, values))) == 1:
        # Half the time of np.array, which looks into every value for nested ones.
        return np.concatenate(values, dtype=np.float64).reshape(len(values), -1)
    return np.array(values, dtype=np.float64).reshape(len(values), -1)


def _bounds(feature: Feature) -> tuple[float, float]:
    """Values that only rounding carries out of the range are clipped later, not refused."""
    return (
        max(feature.low - 1e-6 * max(1.0, abs(feature.low)), -_LARGEST),
        min(feature.high + 1e-6 * max(1.0, abs(feature.high)), _LARGEST),
    )


def _explain(feature: Feature, block: Rows) -> None:
    least, most = _bounds(feature)
    low, high = float(block.min()), float(block.max())
    if not least <= low <= high <= most:
        worst = high if low >= least else low
        raise ValueError(
            f"feature '{feature.name}' has the value {worst:g}, but its space declares "
            f"finite numbers in [{feature.low:g}, {feature.high:g}]"
        )


def _columns(space: Any, name: str, path: tuple[str, ...]) -> list[_Column]:
    # By name, so that spaces of an installed gym are understood as well.
    kind = next((c.__name__ for c in type(space).__mro__ if c.__name__ in _KINDS), None)
    if kind is None:
        raise ValueError(
            f"feature '{name}' has a space of type {type(space).__name__}; "
            f"allowed are {', '.join(_KINDS)}"
        )
    return _KINDS[kind](space, name, path)


def _dict(space: Any, name: str, path: tuple[str, ...]) -> list[_Column]:
    entries: Mapping[str, Any] = space.spaces
    return [
        column
        for key in sorted(entries)
        for column in _columns(entries[key], ".".join((*path, key)), (*path, key))
    ]


def _box(space: Any, name: str, path: tuple[str, ...]) -> list[_Column]:
    size = math.prod(space.shape)
    if size == 0:
        return []
    low, high = float(np.min(space.low)), float(np.max(space.high))
    feature = number(name, low, high) if size == 1 else vector(name, size, low, high)
    return [_Column(feature, path, 0, False)]


def _discrete(space: Any, name: str, path: tuple[str, ...]) -> list[_Column]:
    first = int(getattr(space, "start", 0))
    return [_Column(category(name, int(space.n)), path, first, True)]


def _multi_binary(space: Any, name: str, path: tuple[str, ...]) -> list[_Column]:
    size = math.prod(space.shape)
    feature = number(name, 0, 1) if size == 1 else vector(name, size, 0, 1)
    return [_Column(feature, path, 0, False)]


_KINDS: dict[str, Callable[[Any, str, tuple[str, ...]], list[_Column]]] = {
    "Box": _box,
    "Discrete": _discrete,
    "Dict": _dict,
    "MultiBinary": _multi_binary,
}
