"""Replay buffers of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LEAST_ERROR = 1e-6  # so that what is known exactly is drawn now and then


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

    def add(self, columns: Mapping[str, Any]) -> Tensor:
        """Add rows, the same columns every time; returns where they stand now."""
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
        return places

    def sample(self, count: int) -> dict[str, Tensor]:
        """Rows drawn uniformly with replacement, (count, ...) each."""
        rows = torch.randint(self._size, (count,), generator=self._generator)
        return {name: value[rows] for name, value in self._columns.items()}

    def rows(self) -> dict[str, Tensor]:
        """All rows that are kept, (len, ...) each; views."""
        return {name: value[: self._size] for name, value in self._columns.items()}

    def get_state(self) -> dict[str, Any]:
        """All that is needed to continue with the same numbers."""
        # Copies: what is added later must not change the state.
        columns = {name: value.numpy().copy() for name, value in self.rows().items()}
        return {"columns": columns, "next": self._next, "generator": self._generator.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `get_state`."""
        self._columns, self._size, self._next = {}, 0, 0
        if state["columns"]:
            self.add(state["columns"])
        self._next = state["next"]
        self._generator.set_state(state["generator"])


class PrioritisedReplay(Replay):
    """Draws rows in proportion to a power of their last error.

    Source: Schaul et al. (2016), arXiv:1511.05952, the proportional variant.
    Deviations: cumulative sums over all rows, once a batch, serve for the
    paper's tree; a batch feeds several gradient steps, after which all of its
    priorities change at once; weights are relative to the batch's largest.

    Attributes:
        alpha: power of the error; 0 draws uniformly.
    """

    def __init__(self, capacity: int, seed: int, *, alpha: float) -> None:
        """An empty buffer."""
        super().__init__(capacity, seed)
        self.alpha = alpha
        self._mass = torch.zeros(capacity, dtype=torch.float64)
        self._largest = 1.0

    def add(self, columns: Mapping[str, Any]) -> Tensor:
        """Add rows with the largest priority so far, so that each is soon drawn."""
        places = super().add(columns)
        self._mass[places] = self._largest
        return places

    def sample_weighted(self, count: int, beta: float) -> dict[str, Tensor]:
        """Rows drawn by priority, stratified, with `row` (where each stands) and `weight`.

        The weights (P uniform / P drawn)^beta make up for the preference.

        Args:
            count: of rows, drawn with replacement, one from each of so many equal parts of the
                whole priority.
            beta: 0 for no weights, 1 for full ones.
        """
        mass = self._mass[: self._size]
        below = mass.cumsum(0)
        spread = torch.rand(count, generator=self._generator, dtype=torch.float64)
        points = (torch.arange(count) + spread) * (below[-1] / count)
        rows = torch.searchsorted(below, points, right=True).clamp_max(self._size - 1)
        weight = mass[rows] ** -beta
        drawn = {name: value[rows] for name, value in self._columns.items()}
        return {**drawn, "row": rows, "weight": (weight / weight.max()).float()}

    def prioritise(self, rows: Tensor, errors: Tensor) -> None:
        """Set priorities to the errors' size, the larger one where a row stands there twice."""
        mass = (errors.abs().double() + _LEAST_ERROR) ** self.alpha
        self._mass.scatter_reduce_(0, rows, mass, "amax", include_self=False)
        self._largest = max(self._largest, float(mass.max()))

    def get_state(self) -> dict[str, Any]:
        """With the priorities."""
        mass = self._mass[: self._size].numpy().copy()
        return {**super().get_state(), "mass": mass, "largest": self._largest}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `get_state`."""
        super().set_state(state)
        self._mass.zero_()
        self._mass[: self._size] = torch.as_tensor(state["mass"])
        self._largest = state["largest"]
