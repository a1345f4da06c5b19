"""What the columns of a table mean: a small strict YAML, or what can be read off the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from algorithms import strict_yaml
from algorithms.environment import HistoryTerm
from algorithms.layers import ConfigError, Section, known, read_layer, validated
from algorithms.registry import nearest
from offline.log.files import write_whole

LISTED = 64
"""Categories that are told apart without being declared; more are hashed."""

SEPARATORS = ("|", ";")
"""Between the categories of one cell, when nothing is declared."""

_OWN = {
    "number": {"scale"},
    "category": {"encoding", "buckets"},
    "categories": {"encoding", "buckets", "separator"},
    "text": set(),
}


class ColumnSection(Section):
    """One column of a table of items or users.

    Attributes:
        type: `number`, `category`, `categories` (several in a cell) or `text` (ignored).
        scale: of numbers: `standard` (mean 0, deviation 1), `minmax` (0 to 1) or `none`.
        encoding: of categories: `one_hot` (a column each), `hashed` (into `buckets`
            columns), or `embedded` (a whole number, of which learners make vectors;
            not for several in a cell).
        buckets: of `hashed`.
        separator: between several categories in a cell.
    """

    type: Literal["number", "category", "categories", "text"]
    scale: Literal["standard", "minmax", "none"] | None = None
    encoding: Literal["one_hot", "hashed", "embedded"] | None = None
    buckets: int | None = Field(None, ge=2, le=65536)
    separator: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _combination(self) -> Self:
        for name in ("scale", "encoding", "buckets", "separator"):
            if getattr(self, name) is not None and name not in _OWN[self.type]:
                raise ValueError(f"a column of type {self.type} has no {name}; leave it out")
        if (self.buckets is not None) != (self.encoding == "hashed"):
            raise ValueError("encoding: hashed and a number of buckets go together; give both")
        if self.type == "categories" and self.encoding == "embedded":
            raise ValueError("several categories in a cell cannot be embedded; use hashed")
        return self


class Declared(NamedTuple):
    """Columns by name, of items and of users, and terms of the history if they are given."""

    items: Mapping[str, ColumnSection]
    users: Mapping[str, ColumnSection]
    history: tuple[HistoryTerm, ...] | None = None


def read_declared(path: Path, tables: Mapping[str, pa.Table]) -> Declared:
    """The YAML in a file.

    Args:
        path: of the file.
        tables: `items`, and `users` where there are any.

    Raises:
        ConfigError: it cannot be read, has an unknown key, declares what a column cannot
            be, or names a column that there is not.
    """
    layer = read_layer(path)
    layers = [layer]
    known(layers, (), layer[1], ["items", "users", "history"])
    found: dict[str, dict[str, ColumnSection]] = {"items": {}, "users": {}}
    for group, columns in found.items():
        declared = layer[1].get(group) or {}
        if not isinstance(declared, dict):
            raise ConfigError(f"{path}: '{group}' must hold names of columns")
        if declared and group not in tables:
            raise ConfigError(f"{path}: '{group}' are declared, but no such table is given")
        for name, values in declared.items():
            if name not in tables[group].column_names:
                raise ConfigError(
                    f"{path}: {group}.{name} is no column of the table; "
                    f"{nearest(name, tables[group].column_names)}"
                )
            columns[name] = validated(layers, (group, name), ColumnSection, values)
    terms = layer[1].get("history")
    if terms is None:
        return Declared(found["items"], found["users"])
    if not isinstance(terms, list):
        raise ConfigError(f"{path}: 'history' must hold a list of terms")
    history = tuple(
        validated(layers, ("history", number), HistoryTerm, term)
        for number, term in enumerate(terms)
    )
    return Declared(found["items"], found["users"], history)


def infer(items: pa.Table, users: pa.Table | None) -> Declared:
    """What tables say of themselves.

    A column of numbers is a number; one with a separator in most cells, several
    categories; up to `LISTED` different values are categories, as are more that
    repeat often, hashed; all else is text. Ids are left out, but where items have
    nothing else.
    """
    found = _inferred(items, "item_id")
    if all(column.type == "text" for column in found.values()):
        count = pc.count_distinct(items["item_id"]).as_py()
        found["item_id"] = _category("category", None, count)
    of_users = {} if users is None else _inferred(users, "user_id")
    return Declared(found, of_users)


def _inferred(table: pa.Table, key: str) -> dict[str, ColumnSection]:
    return {name: _guess(table[name]) for name in table.column_names if name != key}


def _guess(values: pa.ChunkedArray) -> ColumnSection:
    given = values.filter(pc.not_equal(values, ""))
    if not len(given):
        return ColumnSection(type="text")
    try:
        pc.cast(given, pa.float64())
        return ColumnSection(type="number", scale="standard")
    except pa.ArrowInvalid:
        pass
    for separator in SEPARATORS:
        if pc.sum(pc.match_substring(given, separator)).as_py() * 2 >= len(given):
            parts = pc.list_flatten(pc.split_pattern(given, separator))
            return _category("categories", separator, pc.count_distinct(parts).as_py())
    count = pc.count_distinct(given).as_py()
    # Titles and descriptions hardly ever repeat.
    if count > LISTED and count * 4 > len(given):
        return ColumnSection(type="text")
    return _category("category", None, count)


def _category(
    type: Literal["category", "categories"], separator: str | None, count: int
) -> ColumnSection:
    if count <= LISTED:
        return ColumnSection(type=type, encoding="one_hot", separator=separator)
    return ColumnSection(type=type, encoding="hashed", buckets=LISTED, separator=separator)


def described(declared: Declared) -> str:
    """The YAML of what is declared."""
    data: dict[str, Any] = {
        group: {name: column.model_dump(exclude_none=True) for name, column in columns.items()}
        for group, columns in (("items", declared.items), ("users", declared.users))
        if columns
    }
    if declared.history is not None:
        data["history"] = [term.model_dump() for term in declared.history]
    return strict_yaml.dump(data)


def write_declared(path: Path, declared: Declared) -> None:
    """Save the YAML, whole or not at all.

    Raises:
        LogError: it cannot be written.
    """
    write_whole(path, described(declared).encode())
