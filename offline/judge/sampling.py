"""An even sample of a stream, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from offline.log.rows import Array


@dataclass
class Sample:
    """Rows of a stream, each with the same chance to be kept.

    Each row draws a number, and those below a threshold are kept; whenever twice as
    many as wanted are there, the threshold is halved.

    Attributes:
        size: how many rows are wanted; at most twice as many are kept.
        seed: of the draws.
        threshold: share of the stream that is kept.
    """

    size: int
    seed: int = 0
    threshold: float = 1.0
    _keys: list[Array] = field(default_factory=list)
    _parts: list[tuple[Array, ...]] = field(default_factory=list)
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Start the draws."""
        self._random = np.random.default_rng(self.seed)

    def choose(self, rows: int) -> tuple[Array, Array]:
        """Numbers of those to keep among so many new rows, and what they drew."""
        drawn = self._random.random(rows)
        index = np.flatnonzero(drawn < self.threshold)
        return index, drawn[index]

    def add(self, keys: Array, *columns: Array) -> None:
        """Keep rows that were chosen, (rows, ...) each."""
        self._keys.append(keys)
        self._parts.append(columns)
        while sum(map(len, self._keys)) > 2 * self.size:
            self.threshold /= 2
            kept = [key < self.threshold for key in self._keys]
            self._parts = [
                tuple(column[flags] for column in part)
                for part, flags in zip(self._parts, kept, strict=True)
            ]
            self._keys = [key[flags] for key, flags in zip(self._keys, kept, strict=True)]

    def columns(self) -> list[Array]:
        """What was kept, column by column; NaN where a row has fewer columns than others."""
        return [_joined(parts) for parts in zip(*self._parts, strict=True)]


def _joined(parts: Sequence[Array]) -> Array:
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    width = max(part.shape[1] for part in parts)
    return np.concatenate(
        [
            np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=np.nan)
            for part in parts
        ]
    )
