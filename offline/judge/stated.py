"""A sample of what the log says of its own choices, to hold against what was shown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from offline.judge.sampling import Sample
from offline.log import Rows
from offline.log.rows import Array
from offline.observed import distributions

_ROWS = 20_000
_NUMBERS = 4_000_000
"""Rows, and propensities of their candidates, that are looked at, at most twice as many."""


class Stated(NamedTuple):
    """Sampled rows whose first slot was free.

    Attributes:
        chance: of each candidate to be shown there, (M, N), NaN where not eligible.
        shown: what was, (M,).
        mismatch: share of all sampled rows whose propensities are not those of the
            logged distribution.
    """

    chance: Array
    shown: Array
    mismatch: float


class StatedSample:
    """Samples, batch by batch, rows of a log that has all its slate distributions."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._sample: Sample | None = None
        self._all = True

    def add(self, rows: Rows) -> None:
        """Look at more rows."""
        self._all = self._all and not np.isnan(rows["epsilon"]).any()
        if not self._all:
            return
        if self._sample is None:
            self._sample = Sample(min(_ROWS, _NUMBERS // rows["mask"].shape[1]))
        index, keys = self._sample.choose(len(rows))
        some = rows.take(index)
        stated = np.full(some["mask"].shape, np.nan)
        logged = np.zeros(some["slate"].shape)
        for part, distribution in distributions(some):
            nothing = torch.zeros((1, 1, some["mask"].shape[1]), dtype=torch.bool)
            chance = distribution.conditional(nothing, 0).exp()[:, 0].double().numpy()
            stated[part] = np.where(some["mask"][part], chance, np.nan)
            slates = torch.from_numpy(some["slate"][part][:, : distribution.slate_size])
            logged[part, : distribution.slate_size] = distribution.slot_log_prob(slates).numpy()
        given = np.where(some["slate"] >= 0, some["slot_log_propensities"], 0.0)
        apart = ~np.isclose(logged, given, rtol=1e-3, atol=1e-3).all(axis=1)
        free = some["pinned"][:, 0] < 0
        self._sample.add(keys, stated, some["slate"][:, 0], np.asarray(apart), free)

    def result(self) -> Stated | None:
        """The sample; `None` where the log lacks distributions."""
        if not self._all or self._sample is None:
            return None
        stated, shown, apart, free = self._sample.columns()
        return Stated(stated[free], shown[free], float(apart.mean()))
