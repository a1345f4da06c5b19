"""What a row of the log holds, and the header that says how to read it.

Axes: N candidates and K slots, which may differ from row to row; U, D, R and H
columns of user, candidate, response and history, which the header fixes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from envs.history import History
from envs.spec import FeatureSpec

SCHEMA_VERSION = 1
HEADER = "log.json"
SOURCES = ("exact", "estimated", "none")

Clock = Literal["unix", "simulated"]


class LogError(ValueError):
    """A log that cannot be read or written; the message is one sentence."""


@dataclass(frozen=True)
class Column:
    """One column of the log.

    Attributes:
        name: the key of a JSON row and the name of a Parquet column.
        dtype: of the array that it is read into; `object` for strings.
        axes: what a row holds, a letter an axis; empty for a single value.
        fill: what a null is read as; `None` where no null is allowed.
    """

    name: str
    dtype: type
    axes: str = ""
    fill: Any = None

    @property
    def padding(self) -> Any:
        """What stands where a row has fewer candidates or slots than its batch."""
        return _PADDING[self.dtype]

    @property
    def is_fraction(self) -> bool:
        """Whether it holds floating-point numbers."""
        return self.dtype in (np.float32, np.float64)


SCALAR_TYPES: dict[type, set[type]] = {
    object: {str},
    np.bool_: {bool},
    np.int64: {int},
    np.float32: {int, float},
    np.float64: {int, float},
}
"""What JSON may hold for a single value of each dtype."""

_PADDING = {object: "", np.bool_: False, np.int64: -1, np.float32: 0.0, np.float64: 0.0}

COLUMNS = {
    column.name: column
    for column in (
        Column("session_id", object),
        Column("user_id", object),
        Column("step", np.int64),
        Column("time", np.float64),
        Column("impression_id", object),
        Column("user", np.float32, "U"),
        Column("candidate_ids", object, "N"),
        Column("candidates", np.float32, "ND", fill=np.nan),
        Column("catalogue", object),
        Column("mask", np.bool_, "N", fill=True),
        Column("pinned", np.int64, "K", fill=-1),
        Column("history", np.float32, "H"),
        Column("slate", np.int64, "K"),
        Column("slate_ids", object, "K"),
        Column("log_propensity", np.float32, fill=np.nan),
        Column("slot_log_propensities", np.float32, "K", fill=np.nan),
        Column("log_weights", np.float32, "N", fill=np.nan),
        Column("epsilon", np.float64, fill=np.nan),
        Column("temperature", np.float64, fill=np.nan),
        Column("greedy", np.int64, "K", fill=-1),
        Column("propensity_source", object),
        Column("response", np.float32, "KR"),
        Column("reward", np.float32),
        Column("terminated", np.bool_),
        Column("truncated", np.bool_),
        Column("policy", object),
        Column("policy_version", object),
        Column("arm", object),
    )
}
"""All columns, in the order in which they are written."""

IDS = ("user_id", "time", "impression_id", "candidate_ids", "catalogue", "slate_ids")
"""What learners and estimators do not look at; read only where asked for."""

LEARNING = tuple(name for name in COLUMNS if name not in IDS)
"""What is read unless other columns are named."""


@dataclass(frozen=True)
class Header:
    """What all rows of a log have in common.

    Attributes:
        spec: features of users, candidates and responses.
        history: how the column `history` came about; `None` where it is empty.
        reward: name of the function from responses to the reward.
        clock: of the column `time`: seconds since 1970 (`unix`), or since the
            session began, one a step (`simulated`).
        world: arguments of `envs.registry.make_simulator`, where the log comes
            from a world of ours.
        pseudonyms: a mark of the key that ids were hashed with, if they were.
        version: of this schema.
    """

    spec: FeatureSpec
    history: History | None
    reward: str = "reward"
    clock: Clock = "unix"
    world: Mapping[str, Any] | None = None
    pseudonyms: str | None = None
    version: int = field(default=SCHEMA_VERSION)

    def __post_init__(self) -> None:
        """Refuse worlds without slates."""
        if self.spec.actions != "slate":
            raise LogError(
                "the log holds slates of candidates, but here an agent makes its items itself "
                "(box actions); record a world with candidates"
            )

    @property
    def widths(self) -> dict[str, int]:
        """Columns on the axes that the header fixes."""
        return {
            "U": self.spec.user_size,
            "D": self.spec.candidate_size,
            "R": self.spec.response_size,
            "H": 0 if self.history is None else self.history.size,
        }

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        history = self.history
        return {
            "schema_version": self.version,
            "features": self.spec.to_json(),
            "history": None
            if history is None
            else {"version": history.version, "terms": history.to_json()},
            "reward": self.reward,
            "clock": self.clock,
            "world": None if self.world is None else dict(self.world),
            "pseudonyms": self.pseudonyms,
        }

    @property
    def meaning(self) -> dict[str, Any]:
        """What the rows of two logs must agree on to be read as one."""
        return {key: value for key, value in self.to_json().items() if key != "world"}

    def write(self, folder: Path) -> None:
        """Put it into a folder, whole or not at all.

        Raises:
            LogError: the folder holds a log that cannot be continued with this one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / HEADER).exists():
            check_agreement({folder / HEADER: read_header(folder / HEADER), folder: self})
            return
        partial = folder / f".{HEADER}.{os.getpid()}.partial"
        partial.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        os.replace(partial, folder / HEADER)


def read_header(path: Path) -> Header:
    """The header in a file.

    Raises:
        LogError: it is none, of a newer version, or damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["schema_version"]
    except FileNotFoundError:
        raise LogError(f"{path.parent} holds no log: it has no {HEADER}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise LogError(f"{path} is no header of a log: it names no schema_version") from None
    if version != SCHEMA_VERSION:
        raise LogError(
            f"{path} is of schema version {version}, but this installation reads "
            f"{SCHEMA_VERSION}; use the version of rllib-recsim that wrote it"
        )
    try:
        return _parse(data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise LogError(f"{path} is damaged ({error!r}); use another copy") from None


def _parse(data: Mapping[str, Any]) -> Header:
    spec = FeatureSpec.from_json(data["features"])
    history = data["history"]
    header = Header(
        spec=spec,
        history=None if history is None else History.from_json(spec, history["terms"]),
        reward=data["reward"],
        clock=data["clock"],
        world=data["world"],
        pseudonyms=data["pseudonyms"],
    )
    if header.history is not None and header.history.version != history["version"]:
        raise ValueError(
            f"history version {history['version']}, this installation computes "
            f"{header.history.version}"
        )
    return header


def check_agreement(headers: Mapping[Path, Header]) -> None:
    """Refuse logs that cannot be read as one.

    Raises:
        LogError: names two of them and what differs.
    """
    (first, expected), *others = headers.items()
    for path, header in others:
        for key, value in header.meaning.items():
            if value != expected.meaning[key]:
                raise LogError(
                    f"{first} and {path} differ in '{key}', so they are not one log; "
                    "read or write them apart"
                )


def chosen(columns: Sequence[str] | None) -> tuple[str, ...]:
    """Columns to read, in the log's order.

    Raises:
        LogError: an unknown name.
    """
    if columns is None:
        return LEARNING
    for name in columns:
        if name not in COLUMNS:
            raise LogError(f"the log has no column '{name}'; it has: {', '.join(COLUMNS)}")
    return tuple(name for name in COLUMNS if name in columns)
