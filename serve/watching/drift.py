"""How far what is served has moved from the log that a policy was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BINS = 10
LEAST_ROWS = 500.0
"""Below that, chance alone moves the index by a few hundredths."""

_LARGEST_SHIFT = 1000.0
_AT_ONCE = 2_000_000


@dataclass(frozen=True, eq=False)
class Baseline:
    """Distributions of C columns in the training log.

    Attributes:
        features: names and numbers of columns, in order.
        edges: between the bins of each column, rising, (C, bins - 1); infinite where a
            column has fewer bins than others.
        counts: values in each bin, (C, bins).
        mean: (C,).
        std: (C,).
    """

    features: tuple[tuple[str, int], ...]
    edges: Array
    counts: Array
    mean: Array
    std: Array

    @classmethod
    def of(cls, features: tuple[tuple[str, int], ...], values: Array) -> Baseline:
        """That of values, (rows, C), at least one row."""
        found = [_edges(column) for column in values.T]
        widest = max(map(len, found))
        edges = np.full((len(found), widest), np.inf)
        for row, one in zip(edges, found, strict=True):
            row[: len(one)] = one
        parts = np.array_split(values, 1 + values.size // _AT_ONCE)
        counts = np.sum([binned(part, edges) for part in parts], axis=0)
        return cls(features, edges, counts, values.mean(axis=0), values.std(axis=0))


def _edges(values: Array) -> Array:
    """Between a column's values where these are few, else at its deciles."""
    different = np.unique(values)
    if len(different) <= BINS:
        return np.asarray((different[1:] + different[:-1]) / 2)
    return np.unique(np.quantile(values, np.arange(1, BINS) / BINS))


def binned(values: Array, edges: Array) -> Array:
    """How many values lie in each bin; one on an edge is in the bin above.

    Args:
        values: (rows, C).
        edges: (C, bins - 1).

    Returns:
        (C, bins).
    """
    above = (values[:, :, None] >= edges[None]).sum(axis=0)
    first = np.full((len(edges), 1), len(values))
    last = np.zeros((len(edges), 1))
    return np.asarray(-np.diff(np.concatenate([first, above, last], axis=1), axis=1), np.float64)


def psi(counts: Array, baseline: Array, bins: Array) -> Array:
    """Population stability index of columns, sum over bins of (p - q) ln(p / q).

    Args:
        counts: values seen in each bin, (C, bins).
        baseline: the same in the training log, (C, bins).
        bins: of each column, (C,).

    Returns:
        (C,), from 0; half a value is added to each bin, so empty ones are finite. Under
        no change it is about (bins - 1) (1 / rows seen + 1 / rows of the log).

    Source: Siddiqi (2006), Credit Risk Scorecards; the symmetric Kullback-Leibler
    divergence of Jeffreys (1946).
    """
    used = np.arange(counts.shape[1]) < bins[:, None]

    def shares(found: Array) -> Array:
        smooth = found + 0.5 * used
        return np.asarray(smooth / np.maximum(smooth.sum(axis=1, keepdims=True), 1e-12))

    p, q = shares(counts), shares(baseline)
    terms = np.where(used, (p - q) * np.log(np.where(used, p / np.where(used, q, 1), 1)), 0.0)
    return np.asarray(terms.sum(axis=1))


def shift(mean: Array, baseline: Baseline) -> Array:
    """Distance of means in the training log's standard deviations, (C,), at most 1,000."""
    apart = np.abs(mean - baseline.mean)
    apart = np.where(apart <= 1e-5 * (1 + np.abs(baseline.mean)), 0.0, apart)  # float32
    scale = np.maximum(baseline.std, 1e-9)
    return np.asarray(np.minimum(apart / scale, _LARGEST_SHIFT))


@dataclass(eq=False)
class Drift:
    """Values seen lately, held against a baseline; older ones count less and less.

    Attributes:
        baseline: what to hold them against.
        half_life: seconds after which a value counts half.
        rows: seen, older ones less.
    """

    baseline: Baseline
    half_life: float
    rows: float = 0.0
    _counts: Array = field(init=False)
    _total: Array = field(init=False)
    _at: float | None = None

    def __post_init__(self) -> None:
        """Nothing was seen."""
        self._counts = np.zeros_like(self.baseline.counts)
        self._total = np.zeros_like(self.baseline.mean)

    def add(self, values: Array, now: float) -> None:
        """Take values in, (rows, C) finite, any number, at a time in seconds."""
        passed = 0.0 if self._at is None else max(now - self._at, 0.0)
        kept, self._at = 0.5 ** (passed / self.half_life), now
        self.rows = kept * self.rows + len(values)
        self._counts = kept * self._counts + binned(values, self.baseline.edges)
        self._total = kept * self._total + values.sum(axis=0)

    def found(self) -> Mapping[str, tuple[float, float]]:
        """Index and shift of each feature, its worst column's; empty below `LEAST_ROWS`."""
        if self.rows < LEAST_ROWS:
            return {}
        base = self.baseline
        bins = 1 + np.isfinite(base.edges).sum(axis=1)
        columns = np.stack([psi(self._counts, base.counts, bins), shift(self._mean(), base)])
        starts = np.cumsum([0, *(size for _, size in base.features[:-1])])
        worst = np.maximum.reduceat(columns, starts, axis=1)
        return {
            name: (float(worst[0, number]), float(worst[1, number]))
            for number, (name, _) in enumerate(base.features)
        }

    def _mean(self) -> Array:
        return np.asarray(self._total / max(self.rows, 1e-12))
