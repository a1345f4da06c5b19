"""Features as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.history import History
from envs.spec import Feature

Floats = NDArray[np.float32]
Rows = list[dict[str, Any]]


def plain(name: str) -> str:
    """A name of a feature or a policy, in words."""
    return name.replace("_", " ")


def opening(text: str) -> str:
    """A sentence with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


def amount(value: float) -> str:
    """A number with about three digits: 0.0312, 4.2, 1,234."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"


def percent(share: float) -> str:
    """A probability: 25 %, 3.1 %, 0.02 %; 100 % is said of 1 alone."""
    digits = f"{100 * share:.2g}"
    if share >= 0.995:
        near = 100 * share if share >= 1 else min(100 * share, 99.99)
        digits = f"{near:.4g}"
    return f"{digits} %"


def parts(group: Sequence[Feature], row: Floats) -> Iterator[tuple[Feature, Floats]]:
    """Features with their columns of a row, (columns,)."""
    at = 0
    for feature in group:
        yield feature, row[at : at + feature.size]
        at += feature.size


def which(values: Floats) -> int | None:
    """The column of the only 1 among zeros, `None` for other numbers."""
    ones = np.flatnonzero(values == 1)
    return int(ones[0]) if len(ones) == 1 and np.count_nonzero(values) == 1 else None


def shown(feature: Feature, values: Floats) -> str:
    """The value of a feature."""
    if feature.kind == "id":
        return "unknown" if values[0] < 0 else f"{int(values[0])}"
    if feature.size == 1:
        return amount(float(values[0]))
    chosen = which(values)
    if chosen is not None:
        return f"no. {chosen}"
    head = ", ".join(amount(float(value)) for value in values[:3])
    return head if feature.size <= 3 else f"{head}, … ({feature.size} numbers)"


def describe(group: Sequence[Feature], row: Floats) -> list[tuple[str, str]]:
    """Names and values of features.

    Args:
        group: the features.
        row: (columns,).
    """
    return [(plain(feature.name), shown(feature, values)) for feature, values in parts(group, row)]


def columns(group: Sequence[Feature]) -> list[str]:
    """A name for every column: `time`, `interests 0`, `interests 1`, ..."""
    return [
        plain(feature.name) if feature.size == 1 else f"{plain(feature.name)} {number}"
        for feature in group
        for number in range(feature.size)
    ]


def remembered(history: History) -> list[str]:
    """A name for every column of a history: `sum of click`, `last engagement`, ..."""
    kept = {"sum": "sum of", "last": "last"}
    names = []
    for term in history.terms:
        width = History(history.spec, (term,)).size
        words = f"{kept.get(str(term.keep), f'trace ({term.keep}) of')} {plain(term.what)}"
        names += [words] if width == 1 else [f"{words} {number}" for number in range(width)]
    return names
