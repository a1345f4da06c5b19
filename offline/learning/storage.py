"""Rows of tensors in memory that is taken once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from offline.log import LogError

Columns = Mapping[str, Tensor]

_PADDING = {torch.bool: False, torch.int64: -1}
"""As in the log, whose rows may have fewer candidates or slots than others."""


class Storage:
    """Rows of a fixed number of bytes at most, as one tensor a column.

    The tensors are as large as they will get from the start, but the system gives
    memory only where something is written, so that neither growing nor a copy of all
    costs any.
    """

    def __init__(self, limit: int) -> None:
        """Begin empty.

        Args:
            limit: bytes; the first rows are taken whatever their number.
        """
        self._limit, self._columns = limit, dict[str, Tensor]()
        self._capacity = self.rows = 0

    def clear(self) -> None:
        """Forget the rows and keep the memory."""
        self.rows = 0

    def columns(self) -> dict[str, Tensor]:
        """What was put in, (rows, ...) each; views, which the next rows may overwrite."""
        return {name: values[: self.rows] for name, values in self._columns.items()}

    def put(self, columns: Columns) -> bool:
        """Add rows, padded to the largest so far; False, and nothing added, without room.

        Raises:
            LogError: the limit is more than the machine can give.
        """
        count = len(next(iter(columns.values())))
        if not self._fits(columns):
            if self.rows and self.rows + count > self._room(columns):
                return False
            self._make(columns, count)
        if self.rows + count > self._capacity:
            if self.rows:
                return False
            self._make(columns, count)
        for name, values in columns.items():
            target = self._columns[name][self.rows : self.rows + count]
            if target.shape != values.shape:
                target.fill_(_PADDING.get(values.dtype, 0))
                target = target[tuple(slice(size) for size in values.shape)]
            target.copy_(values)
        self.rows += count
        return True

    def _fits(self, columns: Columns) -> bool:
        """Whether rows are no larger than the tensors."""
        return bool(self._columns) and all(
            own >= size
            for name, values in columns.items()
            for own, size in zip(self._columns[name].shape[1:], values.shape[1:], strict=True)
        )

    def _shapes(self, columns: Columns) -> dict[str, tuple[int, ...]]:
        """Of a row, large enough for the old ones and the new."""
        shapes = {}
        for name, values in columns.items():
            shape = tuple(values.shape[1:])
            if name in self._columns:
                own = self._columns[name].shape[1:]
                shape = tuple(max(pair) for pair in zip(own, shape, strict=True))
            shapes[name] = shape
        return shapes

    def _room(self, columns: Columns) -> int:
        """How many rows of these shapes the limit allows."""
        sizes = (
            columns[name].element_size() * torch.Size(shape).numel()
            for name, shape in self._shapes(columns).items()
        )
        return self._limit // max(1, sum(sizes))

    def _make(self, columns: Columns, count: int) -> None:
        old, kept = self._columns, self.rows
        self._capacity = max(self._room(columns), kept + count)
        shapes = self._shapes(columns)
        try:
            self._columns = {
                name: torch.empty((self._capacity, *shapes[name]), dtype=values.dtype)
                for name, values in columns.items()
            }
        except RuntimeError:  # torch's word for too little memory
            raise LogError(
                f"this machine does not give the {self._limit / 2**30:,.1f} GB that "
                "train.memory_gb asks for; lower it, larger logs are read in parts"
            ) from None
        self.rows = 0
        if kept:
            self.put({name: values[:kept] for name, values in old.items()})
