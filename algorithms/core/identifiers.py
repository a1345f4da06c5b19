"""Learned vectors in the place of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from envs.history import History
from envs.spec import Feature, FeatureSpec

WIDTH = 32
"""Of a learned vector."""

_SPREAD = 0.1
"""Standard deviation of fresh vectors."""

Columns = tuple[tuple[int, int], ...]
"""Places of columns that hold ids, and how many ids there are."""


class Ids(NamedTuple):
    """Columns of ids, in user and history side by side, and in a candidate."""

    state: Columns = ()
    item: Columns = ()


def ids_of(spec: FeatureSpec, history: History) -> Ids:
    """Columns of ids that a network sees.

    In the history an id stands where a term keeps the `last` one of an id of candidates, as
    it is. Before anything was taken it is 0, which is the first id, too.
    """
    item = _in(spec.candidate)
    counts = {f.name: int(f.high) + 1 for f in spec.candidate if f.kind == "id"}
    state, place = list(_in(spec.user)), spec.user_size
    for term in history.terms:
        if term.what in counts and term.keep == "last" and term.scale == 1.0:
            state.append((place, counts[term.what]))
        place += History(spec, (term,)).size
    return Ids(tuple(state), item)


def _in(features: Sequence[Feature]) -> Columns:
    found, place = [], 0
    for feature in features:
        if feature.kind == "id":
            found.append((place, int(feature.high) + 1))
        place += feature.size
    return tuple(found)


class IdVectors(nn.Module):
    """Rows (..., C) with a learned vector in the place of each id; others come first.

    An id that is not known, -1 or beyond the known ones, has a vector of zeros.

    Attributes:
        size: columns of what comes out.
    """

    def __init__(self, size: int, columns: Columns) -> None:
        """For rows of `size` columns, C."""
        super().__init__()
        self._ids = [place for place, _ in columns]
        self._counts = [count for _, count in columns]
        self._others = [place for place in range(size) if place not in self._ids]
        self.tables = nn.ModuleList(
            nn.Embedding(count + 1, WIDTH, padding_idx=0) for count in self._counts
        )
        with torch.no_grad():
            for table in self.tables.parameters():
                table.mul_(_SPREAD)
        self.size = len(self._others) + WIDTH * len(columns)

    def forward(self, rows: Tensor) -> Tensor:
        """(..., size)."""
        parts = [rows[..., self._others]]
        for place, count, table in zip(self._ids, self._counts, self.tables, strict=True):
            number = rows[..., place].long()
            known = (number >= 0) & (number < count)
            parts.append(table(torch.where(known, number + 1, 0)))
        return torch.cat(parts, dim=-1)
