"""Writes rows into shards, each under a temporary name until it is whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from offline.log import parquet
from offline.log.json_encode import encode
from offline.log.layout import two_places
from offline.log.pseudonyms import Pseudonyms
from offline.log.rows import Rows
from offline.log.schema import Header, LogError
from offline.log.validate import faults

SHARD_BYTES = 256 * 2**20
"""Of arrays, after which the next shard begins."""

_SLICE = 4096
_TAIL = 2**20


class Shard(Protocol):
    """A file being written."""

    def write(self, rows: Rows) -> None:
        """Add rows."""

    def close(self) -> None:
        """Give the file its name; all that was written is in it."""

    def rescue(self) -> None:
        """After a write that failed: keep what can be read, with its name, or nothing."""


class JsonShard:
    """Lines of JSON."""

    def __init__(self, path: Path) -> None:
        """Begin under a temporary name."""
        self._path, self._partial = path, _partial(path)
        self._file = self._partial.open("wb", buffering=0)

    def write(self, rows: Rows) -> None:
        """Add rows."""
        data = memoryview(b"".join(encode(rows)))
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Give the file its name."""
        self._file.close()
        os.replace(self._partial, self._path)

    def rescue(self) -> None:
        """Cut a torn last line off, which a full disk allows."""
        self._file.close()
        whole = whole_lines(self._partial)
        if whole:
            os.truncate(self._partial, whole)
            os.replace(self._partial, self._path)
        else:
            self._partial.unlink()


class ParquetShard:
    """Row groups, readable only when the file is closed."""

    def __init__(self, path: Path) -> None:
        """Begin under a temporary name."""
        self._path, self._partial = path, _partial(path)
        self._file = pq.ParquetWriter(
            self._partial, parquet.SCHEMA, compression="snappy", use_dictionary=parquet.REPEATED
        )

    def write(self, rows: Rows) -> None:
        """Add rows."""
        self._file.write_table(parquet.table_of(rows), row_group_size=parquet.ROW_GROUP)

    def close(self) -> None:
        """Write the footer and give the file its name."""
        self._file.close()
        os.replace(self._partial, self._path)

    def rescue(self) -> None:
        """Without a footer nothing can be read."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._file.close()
        self._partial.unlink(missing_ok=True)


FORMATS: dict[str, tuple[str, Callable[[Path], Shard]]] = {
    "json": (".jsonl", JsonShard),
    "parquet": (".parquet", ParquetShard),
}


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def whole_lines(path: Path) -> int:
    """Bytes of a file up to the end of its last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _TAIL)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def new_log(folder: Path, header: Header, format: str) -> None:
    """Begin a log in a folder that is new or empty.

    Raises:
        LogError: the folder holds something or cannot be written, or an unknown format.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LogError(f"{folder} is there already; choose another folder for the new log")
    with LogWriter(folder, header, format=format):
        return


def _features_twice(rows: Rows) -> list[tuple[int, str]]:
    """Faults of rows with features that name a catalogue too, such as those that were read."""
    absent = np.isnan(rows["candidates"].reshape(len(rows), -1)[:, :1]).any(axis=1)
    both = (rows["catalogue"] != "") & ~absent
    return [(int(number), two_places(rows["catalogue"][number])) for number in both.nonzero()[0]]


class LogWriter:
    """Writes a log, or a writer's part of one, shard by shard.

    Use it as a context: what was written before an error stays and can be read.
    """

    def __init__(
        self,
        folder: Path,
        header: Header,
        *,
        name: str = "part",
        format: str = "json",
        pseudonyms: Pseudonyms | None = None,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Write the header; the first rows begin the first shard.

        Args:
            folder: of the log; several writers may share it.
            header: of the log.
            name: how this writer's shards begin, distinct among writers.
            format: `json` or `parquet`.
            pseudonyms: what ids of sessions, users and impressions are hashed with.
            shard_bytes: of arrays, after which the next shard begins.

        Raises:
            LogError: an unknown format, or the folder holds another log or cannot be written.
        """
        if format not in FORMATS:
            raise LogError(f"format is '{format}'; allowed are: {', '.join(FORMATS)}")
        self.folder, self._name, self._pseudonyms = folder, name, pseudonyms
        self._suffix, self._begin = FORMATS[format]
        self._shard: Shard | None = None
        self._shards = self._filled = self.rows = 0
        self._largest = shard_bytes
        with self._explained():
            header.write(folder)

    def write(self, rows: Rows) -> None:
        """Add rows.

        Raises:
            LogError: they hold impossible values, the disk is full, or another writer
                had this one's name; what was written before stays readable.
        """
        if not len(rows):
            return
        found = faults(rows) or _features_twice(rows)
        if found:
            raise LogError(f"rows cannot be written: in row {found[0][0]}, {found[0][1]}")
        if self._pseudonyms is not None:
            rows = self._pseudonyms.apply(rows)
        with self._explained():
            for start in range(0, len(rows), _SLICE):
                self._write(rows.take(slice(start, start + _SLICE)))

    def _write(self, rows: Rows) -> None:
        if self._shard is None:
            path = self.folder / f"{self._name}-{self._shards:05d}{self._suffix}"
            if path.exists():
                raise LogError(
                    f"{path} is there already; give each writer of a log a name of its own"
                )
            self._shard = self._begin(path)
        self._shard.write(rows)
        self.rows += len(rows)
        self._filled += sum(values.nbytes for values in rows.columns.values())
        if self._filled >= self._largest:
            self.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._shard is not None:
                with contextlib.suppress(OSError):  # what it cannot rescue stays as it is
                    self._shard.rescue()
                self._shard = None
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise LogError(
                f"cannot go on writing to {self.folder}: {reason}; the rows written before can "
                "be read"
            ) from None

    def close(self) -> None:
        """Make the present shard whole.

        Raises:
            LogError: the disk is full.
        """
        with self._explained():
            if self._shard is not None:
                self._shard.close()
        self._shard, self._filled = None, 0
        self._shards += 1

    def __enter__(self) -> Self:
        """The writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keep what was written, whatever happened."""
        self.close()
