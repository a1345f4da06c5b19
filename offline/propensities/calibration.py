"""Whether what was predicted to be shown so often was."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass
class Calibration:
    """Predicted and actual frequencies, in bins of the prediction.

    Attributes:
        edges: between the bins, rising.
        counts: candidates in each bin, (bins,).
        predicted: sum of their probabilities.
        shown: how many of them were shown.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.float64] = field(init=False)
    predicted: NDArray[np.float64] = field(init=False)
    shown: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        size = len(self.edges) + 1
        self.counts, self.predicted, self.shown = (np.zeros(size) for _ in range(3))

    @classmethod
    def of(cls, predictions: NDArray[Any], bins: int = BINS) -> Calibration:
        """Bins that hold about as many of these predictions each."""
        inner = np.linspace(0, 1, bins + 1)[1:-1]
        return cls(np.unique(np.quantile(predictions.astype(np.float64), inner)))

    def add(self, probability: NDArray[Any], shown: NDArray[Any]) -> None:
        """Count candidates, by their probability, (pairs,), and whether they were shown."""
        place = np.searchsorted(self.edges, probability, side="right")
        size = len(self.counts)
        self.counts += np.bincount(place, minlength=size)
        self.predicted += np.bincount(place, probability.astype(np.float64), minlength=size)
        self.shown += np.bincount(place, shown.astype(np.float64), minlength=size)

    @property
    def rows(self) -> list[tuple[int, float, float]]:
        """Of each bin that holds any: how many, mean prediction, and share that was shown."""
        return [
            (int(n), p / n, s / n)
            for n, p, s in zip(self.counts, self.predicted, self.shown, strict=True)
            if n
        ]

    @property
    def error(self) -> float:
        """Expected calibration error: mean over candidates of their bin's difference.

        Source: Naeini, Cooper and Hauskrecht (2015), AAAI.
        """
        total = self.counts.sum()
        if not total:
            return math.nan
        return float(np.abs(self.predicted - self.shown).sum() / total)

    @property
    def chance(self) -> float:
        """What that error comes to by chance where every prediction is right.

        The mean absolute deviation of a normal distribution is sqrt(2 / pi) of its
        standard deviation, which is that of a share of so many draws.
        """
        total = self.counts.sum()
        found = sum(n * math.sqrt(2 / math.pi * p * (1 - p) / n) for n, p, _ in self.rows)
        return float(found / total) if total else math.nan
