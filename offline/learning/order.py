"""In which order the shards of a log are read, and how many rows it has."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from offline.log import Log, LogError

_CHUNK, _EDGE = 2**22, 2**16


def in_order(log: Log, seed: Sequence[int]) -> Log:
    """The same log with its shards in a random order.

    Where a shard goes on with sessions of the one before, as those that a training
    records do, they are only turned, like a wheel: sessions whose beginning has not been
    read yet wait in memory, and in a wholly random order nearly all would.
    """
    shards = log.shards
    if len(shards) < 2:
        return log
    random = np.random.default_rng(seed)
    if all(_begins(replace(log, shards=(shard,))) for shard in shards):
        order = random.permutation(len(shards)).tolist()
    else:
        first = int(random.integers(len(shards)))
        order = [*range(first, len(shards)), *range(first)]
    return replace(log, shards=tuple(shards[number] for number in order))


def _begins(log: Log) -> bool:
    """Whether a session begins with the first row of a log."""
    piece = next(log.pieces(("step",)), None)
    return piece is None or not len(piece.rows) or bool(piece.rows["step"][0] == 0)


def counted_rows(log: Log) -> int:
    """Rows, without looking at what is in them."""
    return sum(_count(file) for file, _ in log.shards)


def _count(file: Path) -> int:
    if file.suffix == ".parquet":
        return int(pq.read_metadata(file).num_rows)
    total = 0
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb", 0) as stream:
            # One that breaks off gives what there is only where no more is asked for.
            read = stream.read1 if isinstance(stream, gzip.GzipFile) else stream.read
            while data := read(_CHUNK):
                total += data.count(b"\n")
    except (EOFError, zlib.error):
        pass  # broken off: whoever reads the rows says so
    except OSError as error:
        raise _unread(file, error) from None
    return total


def fingerprint(log: Log) -> list[list[str | int]]:
    """What a resumed run finds unchanged: of each file its name, size and a checksum of its ends.

    Raises:
        LogError: a file cannot be read.
    """
    return [[file.name, *_ends(file)] for file, _ in log.shards]


def _ends(file: Path) -> tuple[int, int]:
    """Size, and a checksum of the first and the last bytes: a log may be larger than patience."""
    try:
        with file.open("rb", 0) as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            found = zlib.crc32(stream.read(_EDGE))
            stream.seek(max(0, size - _EDGE))
            return size, zlib.crc32(stream.read(_EDGE), found)
    except OSError as error:
        raise _unread(file, error) from None


def _unread(file: Path, error: OSError) -> LogError:
    return LogError(f"{file} cannot be read ({error.strerror or error}); bring it back")
