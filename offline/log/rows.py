"""Rows of the log as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offline.log.schema import COLUMNS, Column, LogError

Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """Arrays of (rows, ...), by column; see `offline.log.schema.COLUMNS`.

    N and K are those of the largest row: where one has fewer candidates, `mask`
    is False; where it has fewer slots, `slate` is -1.
    """

    columns: Mapping[str, Array]

    def __len__(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))

    def __contains__(self, name: str) -> bool:
        """Whether a column was read."""
        return name in self.columns

    def __getitem__(self, name: str) -> Array:
        """A column, (rows, ...).

        Raises:
            LogError: it was not read.
        """
        if name not in self.columns:
            raise LogError(f"the column '{name}' was not read; name it among the columns to read")
        return self.columns[name]

    def take(self, index: Array | slice) -> Rows:
        """Some rows, by number, by flags or as a slice."""
        return Rows({name: values[index] for name, values in self.columns.items()})

    def replace(self, **columns: Array) -> Rows:
        """The same with other columns."""
        return Rows({**self.columns, **columns})

    def tensors(self, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Columns as torch tensors that share their memory; all but strings if not named."""
        chosen = [name for name in self.columns if COLUMNS[name].dtype is not object]
        return {name: torch.from_numpy(self[name]) for name in (names or chosen)}


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Rows one after the other, padded to the largest number of candidates and slots."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        {name: _joined(COLUMNS[name], [part[name] for part in parts]) for name in parts[0].columns}
    )


def _joined(column: Column, arrays: list[Array]) -> Array:
    shape = np.max([array.shape[1:] for array in arrays], axis=0, initial=0)
    padded = [pad(column, array, tuple(map(int, shape))) for array in arrays]
    return np.concatenate(padded)


def pad(column: Column, array: Array, shape: tuple[int, ...]) -> Array:
    """An array (rows, ...) made as large as (rows, *shape)."""
    if array.shape[1:] == shape:
        return array
    padded: Array = np.full((len(array), *shape), column.padding, column.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded


class Decoded(NamedTuple):
    """What a piece of a file holds.

    Attributes:
        rows: the good ones.
        kept: their numbers in the piece, from 0, (rows,).
        faults: numbers of the others, and what is wrong with each.
    """

    rows: Rows
    kept: Array
    faults: list[tuple[int, str]]
