"""Copies a log without some of its rows; the original is never touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from offline.log import COLUMNS, Log, LogError, LogWriter, Rows
from offline.log.files import write_whole
from offline.log.rows import Array
from offline.log.write import new_log

Choose = Callable[[Rows, int], tuple[Array, Array]]
"""Of rows, and the number of the first one among all readable ones: which to keep, and
which of these to mark as truncated, (rows,) bool each."""


def copy(log: Log, target: Path, choose: Choose) -> int:
    """Write the chosen rows into a new log, file by file in the same format.

    Rows that cannot be read are left out.

    Returns:
        How many rows were written.

    Raises:
        LogError: the target holds something, lies within the log, the disk is full, or a
            catalogue cannot be read.
    """
    folders = list(dict.fromkeys(folder for _, folder in log.shards))
    if any(target.resolve().is_relative_to(folder) for folder in folders):
        raise LogError(f"{target} lies within the log that it would copy; choose another folder")
    new_log(target, log.header, "json")
    for folder in folders:
        # Tables' logs say beside them how columns became features, and candidates came about.
        for beside in (*folder.glob("catalogue-*.jsonl"), *folder.glob("encoding.json")):
            write_whole(target / beside.name, _content(beside))
    seen = written = 0
    for number, shard in enumerate(log.shards):
        one = Log(log.header, (shard,))
        format = "parquet" if shard[0].suffix == ".parquet" else "json"
        with LogWriter(target, log.header, name=f"part-{number:05d}", format=format) as writer:
            for piece in one.pieces(tuple(COLUMNS)):
                kept, cut = choose(piece.rows, seen)
                seen += len(piece.rows)
                writer.write(_as_written(piece.rows, cut).take(kept))
            written += writer.rows
    return written


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LogError(f"cannot read {file}: {error.strerror or error}") from None


def _as_written(rows: Rows, cut: Array) -> Rows:
    """Rows without the features that were looked up, ended where they are cut."""
    named = rows["catalogue"] != ""
    candidates = rows["candidates"]
    if named.any():
        candidates = np.where(named[:, None, None], np.float32(np.nan), candidates)
    return rows.replace(candidates=candidates, truncated=rows["truncated"] | cut)
