"""How tables of items and users became features: stored beside the log, used wherever it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from envs.history import History, Term
from envs.spec import Feature, FeatureSpec, number, vector
from offline.data import encoders
from offline.data.declaring import Declared
from offline.data.encoders import CellError, Encoder, Floats
from offline.log import LogError
from offline.log.files import write_whole

FILE = "encoding.json"
SCHEMA_VERSION = 1

CLOCK = vector("time_of_day", 2, -1.0, 1.0)
"""What is observed of users where nothing is known of them; see `time_of_day`."""

RESPONSE = (number("click", 0.0, 1.0), number("weight"))
_TRACE, _GAIN = 0.8, 0.2


@dataclass(frozen=True)
class Encoding:
    """Columns of items and users, in the order of their features.

    Attributes:
        items: encoders of the items' columns, at least one.
        users: encoders of the users' columns; without any, the time of day is observed.
        terms: of the history; traces of all features of the items if not given.
        candidates: how a log's candidates came about: `sampled`, or `offered`.
    """

    items: tuple[Encoder, ...]
    users: tuple[Encoder, ...] = ()
    terms: tuple[Term, ...] | None = None
    candidates: str = "sampled"

    @classmethod
    def fit(cls, declared: Declared, items: pa.Table, users: pa.Table | None = None) -> Encoding:
        """Fit the declared columns to tables of strings.

        Raises:
            CellError: a number is none.
            LogError: no column of the items is a feature.
        """
        of_items = _fitted(declared.items, items)
        of_users = () if users is None else _fitted(declared.users, users)
        if not of_items:
            raise LogError("no column of the items is declared as a feature; declare at least one")
        terms = declared.history
        return cls(
            of_items,
            of_users,
            None if terms is None else tuple(Term(**term.model_dump()) for term in terms),
        )

    @property
    def spec(self) -> FeatureSpec:
        """Features of users, items and responses."""
        users = tuple(encoder.feature for encoder in self.users)
        return FeatureSpec(
            user=users or (CLOCK,),
            candidate=tuple(encoder.feature for encoder in self.items),
            response=RESPONSE,
        )

    @property
    def history(self) -> History:
        """What of the session is remembered."""
        spec = self.spec
        return History(spec, default_terms(spec) if self.terms is None else self.terms)

    def encode_items(self, table: Mapping[str, Any] | pa.Table) -> Floats:
        """Features of items, (items, D).

        Args:
            table: a column of strings (or numbers) by name, empty or null where unknown;
                one that is not there counts as unknown.

        Raises:
            CellError: a number is none.
        """
        return _encoded(self.items, table)

    def encode_users(self, table: Mapping[str, Any] | pa.Table) -> Floats:
        """Features of users, (users, U), from a table as for items."""
        return _encoded(self.users, table)

    def refuse_other(self, items: Sequence[str], users: Sequence[str] | None) -> None:
        """Refuse tables that lack columns which are encoded: all in them would count as unknown.

        Args:
            items: names of the columns of items.
            users: of users; `None` where there is no table of them.

        Raises:
            LogError: which columns.
        """
        if users is not None and not self.users:
            raise LogError("the encoding has no features of users; leave --users out")
        for what, group, names in (("items", self.items, items), ("users", self.users, users)):
            missing = [one.name for one in group if names is not None and one.name not in names]
            if missing:
                raise LogError(
                    f"the encoding has the column{'s' * (len(missing) > 1)} {', '.join(missing)} "
                    f"of {what}, which the table lacks; add them, empty where nothing is known, or "
                    "leave --encoding out"
                )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema_version": SCHEMA_VERSION,
            "candidates": self.candidates,
            "items": [encoders.to_json(encoder) for encoder in self.items],
            "users": [encoders.to_json(encoder) for encoder in self.users],
            "history": None if self.terms is None else self.history.to_json(),
        }

    def save(self, folder: Path) -> None:
        """Put it into the folder of a log, whole or not at all.

        Raises:
            LogError: the disk is full, or the folder cannot be written.
        """
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False)
        write_whole(folder / FILE, text.encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Encoding:
        """The encoding of a log, by its folder or by the file.

        Raises:
            LogError: there is none, or it is damaged.
        """
        file = path / FILE if path.is_dir() else path
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            if data["schema_version"] != SCHEMA_VERSION:
                raise LogError(
                    f"{file} is of schema version {data['schema_version']}, but this installation "
                    f"reads {SCHEMA_VERSION}; use the version of rllib-recsim that wrote it"
                )
            terms = data["history"]
            return cls(
                tuple(encoders.from_json(one) for one in data["items"]),
                tuple(encoders.from_json(one) for one in data["users"]),
                None if terms is None else tuple(Term(**term) for term in terms),
                data["candidates"],
            )
        except LogError:
            raise
        except OSError as error:
            raise LogError(f"cannot read the encoding {file}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise LogError(f"{file} is damaged ({error!r}); use another copy") from None


def has_sampled_candidates(folder: Path) -> bool:
    """Whether the candidates of a log in a folder were sampled when it was made out of tables.

    Raises:
        LogError: its encoding is damaged.
    """
    return (folder / FILE).exists() and Encoding.load(folder).candidates == "sampled"


def default_terms(spec: FeatureSpec) -> tuple[Term, ...]:
    """Running means of the features of what was taken, the last weight, and the steps."""

    def can_be_named(feature: Feature) -> bool:
        taken = {f.name for f in spec.response} | {"time", "no_click", "item"}
        return (
            feature.kind != "id"
            and feature.name not in taken
            and not set("*()") & set(feature.name)
        )

    traces = tuple(Term(f.name, _TRACE, _GAIN) for f in spec.candidate if can_be_named(f))
    return (*traces, Term("weight", "last"), Term("time", "sum", 0.05))


def time_of_day(seconds: np.ndarray[Any, np.dtype[np.float64]]) -> Floats:
    """Where the hand of a clock of 24 hours points at, UTC: sine and cosine, (rows, 2)."""
    angle = (seconds % 86_400.0) * (2 * np.pi / 86_400.0)
    return np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


def _fitted(declared: Mapping[str, Any], table: pa.Table) -> tuple[Encoder, ...]:
    found = [encoders.fit(name, table[name], column) for name, column in declared.items()]
    return tuple(encoder for encoder in found if encoder is not None)


def _encoded(group: tuple[Encoder, ...], table: Mapping[str, Any] | pa.Table) -> Floats:
    names = table.column_names if isinstance(table, pa.Table) else list(table)
    count = len(table) if isinstance(table, pa.Table) else len(next(iter(table.values()), []))
    parts = []
    for encoder in group:
        cells = _texts(table[encoder.name]) if encoder.name in names else pa.array([""] * count)
        parts.append(encoder.apply(cells))
    if not parts:
        return np.zeros((count, 0), np.float32)
    return np.concatenate(parts, axis=1)


def _texts(values: Any) -> pa.Array:
    """A column as strings, empty where nothing is known."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not isinstance(values, pa.Array):
        values = pa.array(["" if value is None else str(value) for value in values], pa.string())
    return values if not values.null_count else values.fill_null("")


__all__ = ["CellError", "Encoding", "default_terms", "has_sampled_candidates", "time_of_day"]
