"""In which order the shards of a log are read, and how many rows it has."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from offline.log import Log

_CHUNK = 2**22


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
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb", 0) as stream:
        while data := stream.read(_CHUNK):
            total += data.count(b"\n")
    return total
