"""Arranges the values of many rows, one after the other, as one padded array."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from offline.log.rows import Array, Rows
from offline.log.schema import Column


class Misfit(ValueError):
    """Some row does not have the values that it should have."""


def arrange(
    column: Column,
    flat: Array,
    present: Array,
    sizes: Array,
    counts: Mapping[str, Array],
    widths: Mapping[str, int],
) -> Array:
    """Values by row.

    Args:
        column: what they are.
        flat: values of all rows that have any, one after the other.
        present: which rows have values, (rows,) bool; the others are null.
        sizes: how many, of the rows that have any.
        counts: candidates (`N`) and slots (`K`) of each row, (rows,).
        widths: columns on the other axes.

    Returns:
        (rows, ...), nulls as the column's `fill`, and padding where a row is
        shorter than the longest.

    Raises:
        Misfit: a row has another number of values than its axes say, or none
            where it must have some.
    """
    count = len(present)
    first, rest = column.axes[0], tuple(widths[axis] for axis in column.axes[1:])
    own = counts[first] if first in counts else np.full(count, widths[first])
    if (sizes != (own * math.prod(rest))[present]).any():
        raise Misfit
    longest = int(own.max(initial=0))
    whole = bool(present.all())
    if not whole and column.fill is None:
        raise Misfit
    if whole and (own == longest).all():
        return flat.reshape(count, longest, *rest)
    found: Array = np.full((count, longest, *rest), column.padding, column.dtype)
    there = np.arange(longest) < own[:, None]
    if not whole:
        found[there & ~present[:, None]] = column.fill
    found[there & present[:, None]] = flat.reshape(-1, *rest)
    return found


def real_sizes(rows: Rows) -> tuple[Array, Array]:
    """How many candidates and slots each row has without its padding, (rows,) each."""
    return (rows["candidate_ids"] != "").sum(axis=1), (rows["slate"] >= 0).sum(axis=1)


def nulls(column: Column, values: Array) -> Array:
    """Which rows say nothing, (rows,)."""
    if column.fill is None:
        return np.zeros(len(values), np.bool_)
    silent = np.isnan(values) if column.is_fraction else values == column.fill
    found: Array = np.all(silent.reshape(len(values), -1), axis=1)
    return found


def empty_id(name: str) -> str:
    """What to say of an empty id in a list of them: it would be taken for padding."""
    return f"'{name}' holds an empty id; each item needs one"


def two_places(version: str) -> str:
    """What to say of a row with features of its own and a catalogue."""
    return f"features are given, and catalogue '{version}' is named too; leave one of them out"
