"""Columns of a table as numbers: fitted once, stored, and applied to whatever comes later."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from envs.spec import Feature, identifier, number, vector
from offline.data.declaring import ColumnSection
from offline.log import LogError

Floats = NDArray[np.float32]
Cells: TypeAlias = "pa.Array | pa.ChunkedArray"
"""Of one column: strings, empty where nothing is known."""


class Encoder(Protocol):
    """What turns the cells of a column into features."""

    @property
    def name(self) -> str:
        """Of the column."""

    @property
    def feature(self) -> Feature:
        """Name, kind, size and range of what comes out."""

    def apply(self, cells: Cells) -> Floats:
        """Features, (cells, size); what was never seen is what is unknown."""


@dataclass(frozen=True)
class Number:
    """(x - offset) * factor, clipped to the range; what is missing counts as `missing`.

    Attributes:
        name: of the column.
        offset: of the number, in its own unit.
        factor: one over that unit.
        missing: stands for empty cells, in the number's own unit.
        low: of what comes out; -inf where it has no bound.
        high: of what comes out.
    """

    name: str
    offset: float
    factor: float
    missing: float
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def fit(cls, name: str, cells: Cells, scale: str) -> Number:
        """Scale by the numbers that are given: their mean and deviation, or their range."""
        values = numbers(name, cells)
        given = values[~np.isnan(values)]
        mean = float(given.mean()) if len(given) else 0.0
        if scale == "none" or not len(given):
            return cls(name, 0.0, 1.0, mean)
        if scale == "minmax":
            low, high = float(given.min()), float(given.max())
            return cls(name, low, 1.0 / (high - low) if high > low else 1.0, mean, 0.0, 1.0)
        deviation = float(given.std())
        return cls(name, mean, 1.0 / deviation if deviation > 0 else 1.0, mean)

    @property
    def feature(self) -> Feature:
        """One number."""
        return number(self.name, self.low, self.high)

    def apply(self, cells: Cells) -> Floats:
        """Scaled numbers, (cells, 1)."""
        values = numbers(self.name, cells)
        values = np.where(np.isnan(values), self.missing, values)
        scaled = np.clip((values - self.offset) * self.factor, self.low, self.high)
        return scaled.astype(np.float32)[:, None]


@dataclass(frozen=True)
class Listed:
    """A column for each known category; several may be set where there is a separator.

    A category that was not there when it was fitted sets none.
    """

    name: str
    values: tuple[str, ...]
    separator: str | None = None

    @classmethod
    def fit(cls, name: str, cells: Cells, separator: str | None = None) -> Listed:
        """All categories, in the order of their names."""
        return cls(name, _distinct(cells, separator), separator)

    @property
    def feature(self) -> Feature:
        """A column a category."""
        return vector(self.name, max(1, len(self.values)), 0.0, 1.0)

    def apply(self, cells: Cells) -> Floats:
        """Zeros and ones, (cells, categories)."""
        rows, parts = _parts(cells, self.separator)
        known = pa.array(self.values, pa.string())
        codes = pc.fill_null(pc.index_in(parts, value_set=known), -1).to_numpy()
        return _flags(len(cells), self.feature.size, rows, codes)


@dataclass(frozen=True)
class Hashed:
    """Categories hashed into columns, so that new ones have a place, which they share."""

    name: str
    buckets: int
    separator: str | None = None

    @property
    def feature(self) -> Feature:
        """A column a bucket."""
        return vector(self.name, self.buckets, 0.0, 1.0)

    def apply(self, cells: Cells) -> Floats:
        """Zeros and ones, (cells, buckets)."""
        rows, parts = _parts(cells, self.separator)
        coded = parts.dictionary_encode()
        places = [bucket(text, self.buckets) for text in coded.dictionary.to_pylist()]
        codes = np.array([*places, -1], np.int64)[coded.indices.to_numpy()]
        return _flags(len(cells), self.buckets, rows, codes)


@dataclass(frozen=True)
class Embedded:
    """Which of the known categories it is, by number; -1 for one that is not known."""

    name: str
    values: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, cells: Cells) -> Embedded:
        """All categories, in the order of their names."""
        return cls(name, _distinct(cells, None))

    @property
    def feature(self) -> Feature:
        """An id, of which learners make a vector."""
        return identifier(self.name, max(1, len(self.values)))

    def apply(self, cells: Cells) -> Floats:
        """Whole numbers, (cells, 1)."""
        known = pa.array(self.values, pa.string())
        codes = pc.fill_null(pc.index_in(_one(cells), value_set=known), -1)
        return np.asarray(codes.to_numpy(), np.float32)[:, None]


KINDS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind for kind in (Number, Listed, Hashed, Embedded)
}


def fit(name: str, cells: Cells, declared: ColumnSection) -> Encoder | None:
    """The encoder of a column; `None` for text.

    Raises:
        LogError: a number is none.
    """
    if declared.type == "text":
        return None
    if declared.type == "number":
        return Number.fit(name, cells, declared.scale or "standard")
    if declared.encoding == "hashed":
        return Hashed(name, declared.buckets or 2, declared.separator)
    if declared.encoding == "embedded":
        return Embedded.fit(name, cells)
    separator = declared.separator or ("|" if declared.type == "categories" else None)
    return Listed.fit(name, cells, separator)


def to_json(encoder: Any) -> dict[str, Any]:
    """Plain data; infinite bounds become null."""
    fields = {
        key: None if isinstance(value, float) and math.isinf(value) else value
        for key, value in asdict(encoder).items()
    }
    return {"kind": type(encoder).__name__.lower(), **fields}


def from_json(data: Mapping[str, Any]) -> Encoder:
    """The inverse of `to_json`."""
    fields = {key: value for key, value in data.items() if key != "kind"}
    if data["kind"] == "number":
        fields["low"] = -math.inf if fields["low"] is None else fields["low"]
        fields["high"] = math.inf if fields["high"] is None else fields["high"]
    if "values" in fields:
        fields["values"] = tuple(fields["values"])
    encoder: Encoder = KINDS[data["kind"]](**fields)
    return encoder


def bucket(text: str, buckets: int) -> int:
    """The place of a category, the same on every machine and in every run."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


def numbers(name: str, cells: Cells) -> NDArray[np.float64]:
    """Cells as numbers, NaN where they are empty.

    Raises:
        LogError: a cell is no number, or not finite.
    """
    texts = _one(cells)
    given = pc.if_else(pc.equal(texts, ""), None, texts)
    try:
        values = np.asarray(pc.cast(given, pa.float64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        values = np.array([_number(text) for text in texts.to_pylist()])
    bad = ~np.isfinite(values) & np.asarray(given.is_valid())
    if bad.any():
        row = int(bad.argmax())
        raise CellError(row, f"'{name}' is '{texts[row]}'; it must be a finite number, or empty")
    return values


class CellError(LogError):
    """A cell that its column cannot hold; the row counts from 0."""

    def __init__(self, row: int, message: str) -> None:
        """In a row, with what is wrong."""
        super().__init__(message)
        self.row = row


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _one(cells: Cells) -> pa.Array:
    return cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells


def _parts(cells: Cells, separator: str | None) -> tuple[NDArray[np.int64], pa.Array]:
    """Categories of all cells without empty ones, and the number of the cell of each."""
    texts = _one(cells)
    if separator is None:
        rows, parts = np.arange(len(texts)), texts
    else:
        lists = pc.split_pattern(texts, separator)
        rows = np.repeat(np.arange(len(texts)), np.asarray(pc.list_value_length(lists)))
        parts = pc.utf8_trim_whitespace(lists.flatten())
    given = pc.not_equal(parts, "")
    return rows[np.asarray(given)], parts.filter(given)


def _distinct(cells: Cells, separator: str | None) -> tuple[str, ...]:
    return tuple(sorted(pc.unique(_parts(cells, separator)[1]).to_pylist()))


def _flags(count: int, width: int, rows: NDArray[Any], codes: NDArray[Any]) -> Floats:
    found = np.zeros((count, width), np.float32)
    there = codes >= 0
    found[rows[there], codes[there]] = 1.0
    return found
