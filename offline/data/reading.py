"""Tables in CSV files, gzipped or not; what is wrong is told with file and line."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from offline.data.encoders import CellError
from offline.log import LogError

_ID = pa.dictionary(pa.int32(), pa.string())
_MILLISECONDS = 1e11
"""Seconds since 1970 reach this in the year 5138; milliseconds did so in 1973."""


@dataclass(frozen=True)
class Interactions:
    """Who took what, when, and how much it was worth; n of them in the order of the file.

    Attributes:
        user: number among `user_ids`, (n,) int32.
        item: number among `item_ids`, (n,) int32.
        time: seconds since 1970, (n,).
        weight: (n,).
        user_ids: different, (users,) strings.
        item_ids: different, (items,) strings.
        path: of the file.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.float64]
    weight: NDArray[np.float32]
    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    path: Path

    def __len__(self) -> int:
        """How many."""
        return len(self.time)


def at(path: Path, line: int, message: str) -> LogError:
    """A fault in a line of a file."""
    return LogError(f"{path}:{line}: {message}")


@contextmanager
def cells_of(path: Path) -> Iterator[None]:
    """Tell which line of a file holds a cell that its column cannot hold."""
    try:
        yield
    except CellError as error:
        raise at(path, line_of(path, error.row), str(error)) from None


def open_text(path: Path) -> TextIO:
    """A file to read as text, unpacked where it is gzipped.

    Raises:
        LogError: there is none, or it cannot be read.
    """
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise LogError(f"cannot read {path}: {error.strerror or error}") from None


def header_of(path: Path, needed: Sequence[str]) -> list[str]:
    """Names of the columns.

    Raises:
        LogError: the file is empty, a name stands twice, or one that is needed is missing.
    """
    try:
        with open_text(path) as file:
            names = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LogError(f"{path} cannot be read as CSV ({error}); use another copy") from None
    if not names:
        raise LogError(f"{path} is empty; its first line must name the columns")
    for name in needed:
        if name not in names:
            raise at(path, 1, f"there is no column '{name}', only: {', '.join(names)}")
    for name in names:
        if names.count(name) > 1:
            raise at(path, 1, f"the column '{name}' stands there twice; rename one")
    return names


def read_table(path: Path, key: str) -> pa.Table:
    """A table of strings, with ids that are all different.

    Raises:
        LogError: the file cannot be read, has no rows, or an id twice or empty.
    """
    names = header_of(path, [key])
    types = dict.fromkeys(names, pa.string())
    table = _read(path, types, names).combine_chunks()
    ids = np.array(table[key].to_pylist(), object)
    refuse_empty(path, key, ids == "")
    _, first, codes = np.unique(ids.astype(str), return_index=True, return_inverse=True)
    again = np.flatnonzero(first[codes] != np.arange(len(ids)))
    if len(again):
        row = int(again[0])
        earlier = line_of(path, int(first[codes][row]))
        message = f"{key} '{ids[row]}' stands twice, first in line {earlier}; keep one of the rows"
        raise at(path, line_of(path, row), message)
    return table


def refuse_empty(path: Path, key: str, empty: NDArray[Any]) -> None:
    """Refuse rows, (n,) flags, without an id."""
    if empty.any():
        line = line_of(path, int(empty.argmax()))
        raise at(path, line, f"'{key}' is empty; each row needs one")


def read_interactions(
    path: Path,
    user: str = "user_id",
    item: str = "item_id",
    time: str = "timestamp",
    weight: str | None = "weight",
) -> Interactions:
    """Interactions, by the names of their columns; without weights each counts 1.

    Raises:
        LogError: a column is missing, a number is none or not finite, or there are no rows.
    """
    names = header_of(path, [user, item, time])
    types: dict[str, pa.DataType] = {user: _ID, item: _ID, time: pa.float64()}
    if weight is not None and weight in names:
        types[weight] = pa.float64()
    table = _read(path, types, names).unify_dictionaries().combine_chunks()
    users, items = (table[name].combine_chunks() for name in (user, item))
    times = np.asarray(table[time])
    weights = np.asarray(table[weight]) if weight in types else np.ones(len(table))
    for name, values in ((time, times), (weight, weights)):
        bad = ~np.isfinite(values)
        if bad.any():
            row = int(bad.argmax())
            found = f"'{name}' is {values[row]}; it must be a finite number"
            raise at(path, line_of(path, row), found)
    late = np.abs(times) >= _MILLISECONDS
    if late.any():
        row = int(late.argmax())
        raise at(
            path,
            line_of(path, row),
            f"'{time}' is {times[row]:.0f}, which are no seconds since 1970; divide milliseconds "
            "by 1,000",
        )
    for name, ids in ((user, users), (item, items)):
        empty = pc.index(ids.dictionary, "").as_py()
        if empty >= 0:
            refuse_empty(path, name, np.asarray(ids.indices) == empty)
    return Interactions(
        np.asarray(users.indices),
        np.asarray(items.indices),
        times,
        weights.astype(np.float32),
        np.array(users.dictionary.to_pylist(), object),
        np.array(items.dictionary.to_pylist(), object),
        path,
    )


def _read(path: Path, types: dict[str, pa.DataType], names: Sequence[str]) -> pa.Table:
    """Some columns of a file, with at least a row."""
    convert = pyarrow.csv.ConvertOptions(
        column_types=types,
        include_columns=list(types),
        null_values=[],
        strings_can_be_null=False,
        quoted_strings_can_be_null=False,
    )
    try:
        table = pyarrow.csv.read_csv(path, convert_options=convert)
    except (pa.ArrowInvalid, pa.ArrowException, UnicodeDecodeError, OSError) as error:
        floats = [name for name, type in types.items() if pa.types.is_floating(type)]
        raise _explained(path, names, floats, error) from None
    if not len(table):
        raise LogError(f"{path} holds no rows, only the names of its columns")
    return table


def _explained(
    path: Path, names: Sequence[str], floats: Sequence[str], error: Exception
) -> LogError:
    """Where a file is wrong that could not be read at once: line by line."""
    try:
        for line, cells in lines(path):
            if len(cells) != len(names):
                return at(path, line, f"there are {len(cells)} cells for {len(names)} columns")
            for name in floats:
                cell = cells[names.index(name)]
                if not _is_number(cell):
                    return at(path, line, f"'{name}' is '{cell}'; it must be a number")
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as inner:
        return LogError(f"{path} cannot be read as CSV ({inner}); use another copy")
    return LogError(f"{path} cannot be read as CSV ({' '.join(str(error).split())})")


def lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number of the line and cells of each row after the header; slow."""
    with open_text(path) as file:
        reader = csv.reader(file)
        next(reader, None)
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def line_of(path: Path, row: int) -> int:
    """The line of a row, both as people count them: the header is line 1, rows count from 0."""
    for number, (line, _) in enumerate(lines(path)):
        if number == row:
            return line
    return row + 2


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
