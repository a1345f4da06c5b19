"""Features as a single whole number: the row or column of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.tabular.settings import Discretised
from envs.spec import Feature


@dataclass(frozen=True)
class Part:
    """Some columns, each or together a digit.

    Attributes:
        columns: where they stand.
        kind: of the feature.
        base: values of a digit.
        digits: how many there are.
        low: start of the first bin, for numbers.
        high: end of the last bin.
    """

    columns: slice
    kind: str
    base: int
    digits: int
    low: float
    high: float

    def read(self, rows: Tensor) -> Tensor:
        """Digits of rows (..., C): (..., digits) int64."""
        values = rows[..., self.columns]
        if self.kind == "one_hot":
            return values.argmax(-1, keepdim=True)
        if self.kind == "id":
            known = (values >= 0) & (values < self.base - 1)
            return torch.where(known, values.long() + 1, 0)
        scaled = (values.double() - self.low) * (self.base / (self.high - self.low))
        return scaled.floor().clamp(0, self.base - 1).long()


class Discretiser:
    """Numbers rows of columns.

    Attributes:
        size: how many numbers there are.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        """Number by these parts, the last one fastest."""
        self.parts = tuple(parts)
        self.size = math.prod(part.base**part.digits for part in parts)

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows (..., C) to numbers (...) int64 from 0 to size - 1."""
        number = torch.zeros(rows.shape[:-1], dtype=torch.int64, device=rows.device)
        for part in self.parts:
            for digit in part.read(rows).unbind(-1):
                number = number * part.base + digit
        return number


def discretiser(
    what: str, features: Sequence[Feature], wanted: Sequence[Discretised] | None
) -> Discretiser:
    """How to number rows of these features.

    Args:
        what: name of the setting, for errors.
        features: of the group, in the order of their columns.
        wanted: which to use and how; all of them if not given.

    Raises:
        ValueError: an unknown feature, numbers without bins or bounds, or bins of a category.
    """
    if wanted is None:
        wanted = [Discretised(feature=feature.name) for feature in features]
    starts, start = {}, 0
    for feature in features:
        starts[feature.name] = (feature, start)
        start += feature.size
    unknown = [each.feature for each in wanted if each.feature not in starts]
    if unknown:
        raise ValueError(f"{what} names '{unknown[0]}'; there are: {', '.join(starts)}")
    return Discretiser([_part(what, each, *starts[each.feature]) for each in wanted])


def _part(what: str, wanted: Discretised, feature: Feature, start: int) -> Part:
    columns = slice(start, start + feature.size)
    if feature.kind in ("one_hot", "id"):
        if (wanted.bins, wanted.low, wanted.high) != (None, None, None):
            raise ValueError(
                f"{what} gives bins or bounds to '{feature.name}', which is counted already; "
                "name the feature alone"
            )
        base = feature.size if feature.kind == "one_hot" else int(feature.high) + 2
        return Part(columns, feature.kind, base, 1, 0.0, 0.0)
    if wanted.bins is None:
        raise ValueError(
            f"'{feature.name}' is made of numbers, which a table cannot count; list in {what} "
            "which features to use, and into how many bins their numbers go"
        )
    low = feature.low if wanted.low is None else wanted.low
    high = feature.high if wanted.high is None else wanted.high
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"the bins of '{feature.name}' in {what} would reach from {low} to {high}; "
            "give it a low and a high that are finite and rise"
        )
    return Part(columns, feature.kind, wanted.bins, feature.size, low, high)
