"""A replay buffer of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Replay:
    """Keeps the latest rows of named columns and draws from them uniformly.

    Attributes:
        capacity: rows kept; the oldest go first.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        """An empty buffer; columns take their shapes from the first rows."""
        self.capacity = capacity
        own = np.random.SeedSequence(seed, spawn_key=(3,)).generate_state(1)[0]
        self._generator = torch.Generator().manual_seed(int(own))
        self._columns: dict[str, Tensor] = {}
        self._size = self._next = 0

    def __len__(self) -> int:
        return self._size

    def add(self, columns: Mapping[str, Any]) -> None:
        """Add rows, the same columns every time."""
        rows = {name: torch.as_tensor(value) for name, value in columns.items()}
        count = len(next(iter(rows.values())))
        if not self._columns:
            self._columns = {
                name: value.new_zeros((self.capacity, *value.shape[1:]))
                for name, value in rows.items()
            }
        kept = min(count, self.capacity)
        places = (torch.arange(kept) + self._next) % self.capacity
        for name, value in rows.items():
            self._columns[name][places] = value[count - kept :]
        self._next = (self._next + kept) % self.capacity
        self._size = min(self._size + kept, self.capacity)

    def sample(self, count: int) -> dict[str, Tensor]:
        """Rows drawn uniformly with replacement, (count, ...) each."""
        rows = torch.randint(self._size, (count,), generator=self._generator)
        return {name: value[rows] for name, value in self._columns.items()}

    def get_state(self) -> dict[str, Any]:
        """All that is needed to continue with the same numbers."""
        columns = {name: value[: self._size].numpy() for name, value in self._columns.items()}
        return {"columns": columns, "next": self._next, "generator": self._generator.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `get_state`."""
        self._columns, self._size, self._next = {}, 0, 0
        if state["columns"]:
            self.add(state["columns"])
        self._next = state["next"]
        self._generator.set_state(state["generator"])
