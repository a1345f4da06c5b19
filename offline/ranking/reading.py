"""Interactions to rank with: a folder of our tables, or of MovieLens' files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from algorithms.registry import nearest
from offline.data import movielens
from offline.data.building import Tables, known_items
from offline.data.declaring import SEPARATORS, ColumnSection, infer
from offline.data.reading import read_interactions, read_table
from offline.log import LogError

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Taken:
    """Who took what, when: n interactions, by number of the user and of the item.

    Attributes:
        user: (n,).
        item: (n,).
        time: in seconds since 1970, (n,).
        weight: (n,).
    """

    user: Ints
    item: Ints
    time: NDArray[np.float64]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        """How many."""
        return len(self.user)

    def rows(self, chosen: Any) -> Taken:
        """Some of them."""
        return Taken(self.user[chosen], self.item[chosen], self.time[chosen], self.weight[chosen])


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Users and items; each item's number is its place by id.

    Attributes:
        user_ids: strings, (users,).
        item_ids: strings, rising, as numbers where all are whole numbers, (N,).
        items: their table, in the same order; strings.
        users: table of users; strings, in the file's order. Only ids where nothing else is
            known.
        group_names: of the column that says what kinds of items there are, (G,); empty
            where there is no such column.
        groups: 1 where an item is of a kind, (N, G).
        declared: what the columns of items are.
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    items: pa.Table
    users: pa.Table
    group_names: tuple[str, ...]
    groups: NDArray[np.float32]
    declared: Mapping[str, ColumnSection]

    @property
    def num_users(self) -> int:
        """Who have interactions."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.item_ids)


def read(
    folder: Path, groups: str | None = None, drop_unknown: bool = False
) -> tuple[Catalogue, Taken]:
    """Users, items and interactions of a folder.

    Args:
        folder: with `ratings.csv` and `movies.csv`, or `interactions.csv` and `items.csv`,
            and `users.csv` if there are any, each gzipped or not.
        groups: column of items that says what kinds there are; the first one of several
            categories, or else the first category, if not given.
        drop_unknown: leave interactions with items that the table lacks out.

    Raises:
        LogError: a file is missing or faulty, or there is no such column.
    """
    tables = read_tables(folder)
    found, row, _ = known_items(tables, drop_unknown)
    ids = np.array(tables.items["item_id"].to_pylist(), object)
    order = in_order(ids)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    items = tables.items.take(pa.array(order))
    declared = columns_of(tables)
    names, flags = kinds(items, groups or _column_of_kinds(declared), tables.items_path)
    users = tables.users
    if users is None:
        users = pa.table({"user_id": pa.array(found.user_ids, pa.string())})
    catalogue = Catalogue(found.user_ids, ids[order], items, users, names, flags, declared)
    return catalogue, Taken(found.user.astype(np.int64), place[row], found.time, found.weight)


def read_tables(folder: Path) -> Tables:
    """The tables of a folder, as they are.

    Raises:
        LogError: a file is missing or faulty.
    """
    if not folder.is_dir():
        raise LogError(
            f"{folder} is no folder; name one with interactions.csv and items.csv, or with "
            "MovieLens' ratings.csv and movies.csv"
        )
    if _file(folder, "ratings.csv") and not _file(folder, "interactions.csv"):
        return movielens.read(folder)
    interactions, items = _file(folder, "interactions.csv"), _file(folder, "items.csv")
    if interactions is None or items is None:
        raise LogError(
            f"{folder} has no interactions.csv with items.csv, and no ratings.csv with "
            "movies.csv (each may end with .gz); name the folder that holds them"
        )
    users = _file(folder, "users.csv")
    return Tables(
        read_interactions(interactions),
        read_table(items, "item_id"),
        items,
        None if users is None else read_table(users, "user_id"),
        users,
    )


def _file(folder: Path, name: str) -> Path | None:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def in_order(ids: NDArray[Any]) -> Ints:
    """The order of ids: as numbers where all are whole numbers, else as texts."""
    try:
        return np.argsort(np.array([int(one) for one in ids]), kind="stable")
    except (ValueError, OverflowError):
        return np.argsort(ids.astype(str), kind="stable")


def kinds(
    items: pa.Table, column: str | None, path: Path
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names of the kinds of items, and 1 where an item is of one, (N, G).

    Raises:
        LogError: there is no such column.
    """
    names = [name for name in items.column_names if name != "item_id"]
    if column is not None and column not in names:
        raise LogError(
            f"{path} has no column '{column}' to group items by; {nearest(column, names)}"
        )
    if column is None:
        return (), np.zeros((len(items), 0), np.float32)
    cells = items[column].combine_chunks()
    separator = next((one for one in SEPARATORS if _is_common(cells, one)), None)
    lists = pc.split_pattern(cells, separator) if separator else None
    parts = cells if lists is None else lists.flatten()
    lengths = np.ones(len(cells), np.int64) if lists is None else _lengths(lists)
    coded = pc.utf8_trim_whitespace(parts).dictionary_encode()
    values = coded.dictionary.to_pylist()
    kept = sorted(value for value in values if value)
    number = np.array([kept.index(value) if value else -1 for value in values], np.int64)
    code = number[np.asarray(coded.indices)]
    row = np.repeat(np.arange(len(cells)), lengths)
    flags = np.zeros((len(cells), len(kept)), np.float32)
    flags[row[code >= 0], code[code >= 0]] = 1.0
    return tuple(kept), flags


def _lengths(lists: pa.Array) -> Ints:
    return np.asarray(pc.list_value_length(lists)).astype(np.int64)


def _is_common(cells: pa.Array, separator: str) -> bool:
    return bool(pc.any(pc.match_substring(cells, separator)).as_py())


def columns_of(tables: Tables) -> dict[str, ColumnSection]:
    """What the columns of items are: as MovieLens says, or else inferred."""
    if movielens.DECLARED.items.keys() == set(tables.items.column_names) - {"item_id"}:
        return dict(movielens.DECLARED.items)
    return {
        name: column
        for name, column in infer(tables.items, None).items.items()
        if name != "item_id"
    }


def _column_of_kinds(declared: Mapping[str, ColumnSection]) -> str | None:
    for type in ("categories", "category"):
        for name, column in declared.items():
            if column.type == type:
                return name
    return None
