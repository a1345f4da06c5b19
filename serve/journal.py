"""The raw log: shards that replicas append to, a line at a time, unbuffered.

One write an answer goes straight to the operating system, so a killed replica
loses nothing that it answered; syncing to disk at an interval bounds what a power
cut takes. A full disk stops the log, with an alarm, never the answers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from offline.log.files import write_whole
from offline.log.schema import Header
from serve.metrics import Metrics
from serve.settings import LogSection

logger = logging.getLogger(__name__)

SERVING_VERSION = 1
HEADER = "serving.json"

_LAST_LINES, _LAST_BYTES = 100, 16 * 2**20
"""Of a shard, which tell what clients ask for."""


def write_header(folder: Path, header: Header) -> None:
    """Put the raw log's header into its folder, whole or not at all.

    Raises:
        LogError: the disk is full, or the folder cannot be written.
    """
    plain = {**header.to_json(), "serving_version": SERVING_VERSION}
    write_whole(folder / HEADER, (json.dumps(plain, indent=2) + "\n").encode())


@dataclass
class Health:
    """How writing goes.

    Attributes:
        written: lines.
        lost: lines that could not be written.
        failing: whether the last one could not.
    """

    written: int = 0
    lost: int = 0
    failing: bool = False


class Shards:
    """Appends lines to files of its own, a new one by size and by time."""

    def __init__(
        self,
        folder: Path,
        kind: str,
        replica: str,
        settings: LogSection,
        *,
        clock: Callable[[], float] = time.time,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        """Begin with the first line.

        Args:
            folder: of the raw log.
            kind: `impressions` or `feedback`.
            replica: whose they are; different in every process.
            settings: when to rotate.
            clock: seconds since 1970.
            write: appends to an open file, as `os.write` does.
        """
        started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock()))
        self._stem = folder / f"{kind}-{started}-{replica}"
        self._largest, self._longest = settings.rotate_mb * 2**20, settings.rotate_seconds
        self._clock, self._write = clock, write
        self._file: int | None = None
        self._number = self._size = 0
        self._opened = 0.0
        # Since when a line waits for the disk, and when the last one was written.
        self._unsynced: float | None = None
        self._syncing: float | None = None
        self._last: float | None = None
        self._lock = threading.Lock()
        self.health = Health()

    def append(self, line: bytes) -> bool:
        """Write a line with its line break; whether that worked."""
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                self._failed(error)
                return False
            self.health.written += 1
            if self.health.failing:
                self.health.failing = False
                logger.error(
                    "%s can be written again; %d lines were lost.", self._stem, self.health.lost
                )
            return True

    def _append(self, line: bytes) -> None:
        if self._file is not None and (
            self._size >= self._largest or self._clock() - self._opened >= self._longest
        ):
            self._close()
        if self._file is None:
            path = f"{self._stem}-{self._number:05d}.jsonl"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o640)
            self._number, self._size, self._opened = self._number + 1, 0, self._clock()
        done = self._write(self._file, line)
        while done < len(line):  # a disk that is nearly full takes a part
            done += self._write(self._file, line[done:])
        self._size += len(line)
        self._last = self._clock()
        if self._unsynced is None:
            self._unsynced = self._last

    def _failed(self, error: OSError) -> None:
        self.health.lost += 1
        if not self.health.failing:
            self.health.failing = True
            logger.error(
                "Cannot write to %s: %s. Answers go on, but are not logged; make room.",
                self._stem,
                error.strerror or error,
            )
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            # What is torn must stay the last line of its shard.
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.fdatasync(self._file)
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file, self._unsynced = None, None

    def sync(self) -> None:
        """Make sure that what was written survives a power cut."""
        with self._lock:
            if self._file is None or self._unsynced is None:
                return
            copy = os.dup(self._file)
            self._syncing, self._unsynced = self._unsynced, None
        try:  # without the lock: answers need not wait for the disk
            os.fdatasync(copy)
        except OSError as error:
            logger.error("Cannot sync %s: %s.", self._stem, error.strerror or error)
            with self._lock:
                self._unsynced = self._syncing
        finally:
            os.close(copy)
            self._syncing = None

    def unsynced_seconds(self) -> float:
        """Age of the oldest line that a power cut may take; 0 for none."""
        waiting = [since for since in (self._syncing, self._unsynced) if since is not None]
        return max(0.0, self._clock() - min(waiting)) if waiting else 0.0

    def idle_seconds(self) -> float | None:
        """Since the last line was written; `None` before the first."""
        return None if self._last is None else max(0.0, self._clock() - self._last)

    def close(self) -> None:
        """Sync, and end the shard."""
        with self._lock:
            self._close()


class Journal:
    """The shards of one replica, synced in the background.

    Attributes:
        impressions: answers.
        feedback: what came back later.
    """

    def __init__(self, folder: Path, replica: str, settings: LogSection) -> None:
        """Begin to sync; files appear with the first lines."""
        self.impressions = Shards(folder, "impressions", replica, settings)
        self.feedback = Shards(folder, "feedback", replica, settings)
        self._stop = threading.Event()
        self._every = settings.sync_seconds
        self._thread = threading.Thread(target=self._sync, name="journal", daemon=True)
        self._thread.start()

    def _sync(self) -> None:
        while not self._stop.wait(self._every):
            self.impressions.sync()
            self.feedback.sync()

    def watch(self, metrics: Metrics) -> None:
        """Let the metrics look at how old what is written is."""
        for kind, shards in (("impressions", self.impressions), ("feedback", self.feedback)):
            metrics.sample("recsim_log_unsynced_seconds", kind, of=shards.unsynced_seconds)
            metrics.sample("recsim_log_idle_seconds", kind, of=shards.idle_seconds)

    def close(self) -> None:
        """Stop syncing, and end both shards."""
        self._stop.set()
        self._thread.join()
        self.impressions.close()
        self.feedback.close()


def recent_shape(folder: Path) -> tuple[int, int] | None:
    """Slots and candidates of most slates that were logged last; `None` where none was."""
    shards = sorted(folder.glob("impressions-*.jsonl"), key=lambda path: path.stat().st_mtime)
    for path in reversed(shards):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LAST_BYTES))
            lines = file.read().splitlines()[-_LAST_LINES:]
        shapes: Counter[tuple[int, int]] = Counter()
        for line in lines:
            with contextlib.suppress(orjson.JSONDecodeError):  # half a line
                row = orjson.loads(line)
                shapes[len(row["slate"]), len(row["candidate_ids"])] += 1
        if shapes:
            return shapes.most_common(1)[0][0]
    return None
