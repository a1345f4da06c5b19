"""The raw log of an endpoint: where its lines are, and what they say of themselves.

About 100 bytes are kept of an impression and 50 of a line of feedback; the lines
themselves are read again where they are needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simdjson

from offline.log.json_faults import is_json
from offline.log.read import Fault
from offline.log.rows import Array
from offline.log.schema import Header, LogError, read_header

SERVING = "serving.json"
SERVING_VERSION = 1
_CHUNK = 2**22
_OPEN_FILES = 64
_LONGEST = 2**31
_ROWS = 2**16

IMPRESSION = {
    "session": np.int64,
    "step": np.int64,
    "time": np.float64,
    "identity": np.int64,
    "previous": np.int64,
    "slots": np.int32,
    "given": np.int32,
}
"""Columns of impressions: hashes of ids, K, and how many numbers came with the token (-1)."""

FEEDBACK = {"identity": np.int64, "time": np.float64, "given": np.int32}
"""Columns of feedback: the hash of an id, and how many numbers came."""

_PLACE = {"file": np.int32, "line": np.int64, "offset": np.int64, "length": np.int32}


class Lines(NamedTuple):
    """What the whole lines of some shards say.

    Attributes:
        columns: as in `IMPRESSION` or `FEEDBACK`, and `file`, `line`, `offset`, `length`.
        torn: shards whose last line is not finished.
        faults: whole lines that are not what they should be.
    """

    columns: dict[str, Array]
    torn: int
    faults: list[Fault]


class RawLog(NamedTuple):
    """A raw log.

    Attributes:
        folder: of it.
        header: what all its rows have in common.
        impressions: its shards, in the order of their names.
        feedback: the same.
    """

    folder: Path
    header: Header
    impressions: tuple[Path, ...]
    feedback: tuple[Path, ...]


def open_raw(source: Path) -> RawLog:
    """A raw log.

    Args:
        source: its folder, or the state folder of an endpoint.

    Raises:
        LogError: there is none, or it is of another version.
    """
    folder = source if (source / SERVING).exists() else source / "log"
    path = folder / SERVING
    if not path.exists():
        raise LogError(
            f"{source} holds no raw log of an endpoint (no {SERVING}); name the state folder of "
            "`serve.run`, or the folder log in it"
        )
    header = read_header(path)
    version = json.loads(path.read_text(encoding="utf-8")).get("serving_version")
    if version != SERVING_VERSION:
        raise LogError(
            f"{path} is of serving version {version}, but this installation reads "
            f"{SERVING_VERSION}; use the version of rllib-recsim that wrote it"
        )
    shards = (tuple(sorted(folder.glob(f"{kind}-*.jsonl"))) for kind in ("impressions", "feedback"))
    return RawLog(folder, header, *shards)


def read_impressions(files: Sequence[Path]) -> Lines:
    """What impressions say of themselves; see `IMPRESSION`."""
    return _read(files, IMPRESSION, _impression)


def read_feedback(files: Sequence[Path]) -> Lines:
    """What feedback says of itself; see `FEEDBACK`."""
    return _read(files, FEEDBACK, _feedback)


def _impression(row: Any) -> tuple[Any, ...]:
    response = row["previous_response"]
    return (
        hash(_text(row["session_id"])),
        _step(row["step"]),
        _time(row["time"]),
        hash(_text(row["impression_id"])),
        hash(_text(row["previous"])),
        len(row["slate"]),
        -1 if response is None else _count(response),
    )


def _feedback(row: Any) -> tuple[Any, ...]:
    return hash(_text(row["impression_id"])), _time(row["time"]), _count(row["response"])


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _count(values: Any) -> int:
    """How many numbers an array holds, and nothing else."""
    found: int = values.as_buffer(of_type="d").size // 8
    return found


def _step(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _LONGEST:
        raise TypeError
    return value


def _time(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise TypeError
    return float(value)


def _read(
    files: Sequence[Path], kinds: dict[str, Any], read: Callable[[Any], tuple[Any, ...]]
) -> Lines:
    parts: list[dict[str, Array]] = []
    faults: list[Fault] = []
    torn = 0
    types = {**kinds, **_PLACE}
    for number, file in enumerate(files):
        found: list[tuple[Any, ...]] = []
        for line, offset, data in _lines(file):
            if data is None:
                torn += 1
            elif data.strip():
                said = _said(data, read)
                if said is None:
                    faults.append(Fault(file, line, _reason(data)))
                else:
                    found.append((*said, number, line, offset, len(data)))
            if len(found) == _ROWS:
                parts.append(_columns(found, types))
                found = []
        parts.append(_columns(found, types))
    columns = {
        name: np.concatenate([part[name] for part in parts]) if parts else np.zeros(0, kind)
        for name, kind in types.items()
    }
    return Lines(columns, torn, faults)


def _said(data: bytes, read: Callable[[Any], tuple[Any, ...]]) -> tuple[Any, ...] | None:
    row = None
    try:
        row = _PARSER.parse(data)
        return read(row)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    finally:
        del row


_PARSER = simdjson.Parser()


def _reason(data: bytes) -> str:
    return "is not as the endpoint writes it" if is_json(data) else "is not valid JSON"


def _columns(found: list[tuple[Any, ...]], types: dict[str, Any]) -> dict[str, Array]:
    values = list(zip(*found, strict=True)) or [()] * len(types)
    return {
        name: np.array(column, kind)
        for (name, kind), column in zip(types.items(), values, strict=True)
    }


def _lines(file: Path) -> Iterator[tuple[int, int, bytes | None]]:
    """Number, offset and content of each whole line; `None` for a last one that is torn."""
    line, offset, rest = 1, 0, b""
    try:
        with file.open("rb", 0) as stream:
            while data := stream.read(_CHUNK):
                *lines, rest = (rest + data).split(b"\n")
                for content in lines:
                    yield line, offset, content
                    line, offset = line + 1, offset + len(content) + 1
    except OSError as error:
        raise LogError(f"cannot read {file}: {error.strerror or error}") from None
    if rest:
        yield line, offset, None


class Fetch:
    """Reads lines again by where they are."""

    def __init__(self, files: Sequence[Path], columns: dict[str, Array]) -> None:
        """Of shards whose lines were read."""
        self._files, self._columns = files, columns
        self._open = lru_cache(_OPEN_FILES)(lambda number: _File(files[number]))

    def __call__(self, rows: Array) -> list[bytes]:
        """Lines, by their numbers.

        Raises:
            LogError: a shard has become shorter meanwhile.
        """
        places = zip(*(self._columns[name][rows].tolist() for name in _PLACE), strict=True)
        return [self._open(file).read(offset, length) for file, _, offset, length in places]

    def place(self, row: int) -> tuple[Path, int]:
        """The shard of a line, and its number there."""
        return self._files[self._columns["file"][row]], int(self._columns["line"][row])


class _File:
    """An open shard; closed when nothing refers to it any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._stream = path.open("rb", 0)
        except OSError as error:
            raise LogError(f"cannot read {path}: {error.strerror or error}") from None

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._stream.fileno(), length, offset)
        if len(data) < length:
            raise LogError(f"{self._path} has become shorter while it was read; join again")
        return data

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            self._stream.close()
