"""A line of JSON for each access, or for each that went wrong; never a feature of a user."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal

import orjson

from serve.metrics import Metrics

Choice = Literal["errors", "all", "off"]

FOLDER = "access"

_BYTES, _PARTS = 16 * 2**20, 3
"""Of a file, and how many full ones a replica keeps."""

_FILES = 64
"""Of all replicas that ever were, kept when one begins; the oldest go."""

_ERRORS = 100
_WAITING = 20_000
"""Lines between two flushes: of errors, and of any kind. Under overload every answer is
an error, and writing them all would add to the load."""

_LONGEST, _LARGEST = 200, 64 * 1024
"""Of an id, and of a body in which ids are looked for."""


class AccessLog:
    """Lines of one replica, kept in memory until the next flush."""

    def __init__(
        self,
        folder: Path,
        replica: str,
        choice: Choice,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write nothing yet.

        Args:
            folder: for the files.
            replica: names the file.
            choice: what to note: what went wrong, everything, or nothing.
            metrics: count lines that were left out.
            clock: seconds since 1970.
        """
        self._file, self._replica = folder / f"{replica}.jsonl", replica
        self._choice, self._metrics, self._clock = choice, metrics, clock
        self._lines: deque[dict[str, Any]] = deque()
        self._errors = 0
        self._writer: _Writer | None = None

    def wants(self, status: int, fallback: bool = False) -> bool:
        """Whether an answer is to be noted; says no where there have been too many."""
        is_error = status >= 400 or fallback
        if self._choice == "off" or not (is_error or self._choice == "all"):
            return False
        self._errors += is_error
        if len(self._lines) < _WAITING and not (is_error and self._errors > _ERRORS):
            return True
        self._metrics.add("recsim_access_lost")
        return False

    def note(self, route: str, status: int, **said: Any) -> None:
        """Note an answer that is wanted; empty values are left out."""
        kept = {name: value for name, value in said.items() if value not in ("", [], None)}
        begin = {"time": self._clock(), "replica": self._replica, "route": route, "status": status}
        self._lines.append({**begin, **kept})

    def flush(self) -> None:
        """Write what was noted; lines that cannot be written are counted and dropped."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        self._errors = 0
        if not lines:
            return
        text = "\n".join(orjson.dumps(line).decode() for line in lines)
        try:
            if self._writer is None:
                self._file.parent.mkdir(exist_ok=True)
                prune(self._file.parent)
                self._writer = _Writer(self._file)
            self._writer.write(text)
        except OSError:
            self._metrics.add("recsim_access_lost", by=len(lines))

    def close(self) -> None:
        """Write the last lines."""
        self.flush()
        if self._writer is not None:
            self._writer.close()


class _Writer(RotatingFileHandler):
    """The library's rotation, with a full disk as an exception."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_BYTES, backupCount=_PARTS, encoding="utf-8")

    def write(self, text: str) -> None:
        """Append lines.

        Raises:
            OSError: the disk is full.
        """
        self.handle(logging.LogRecord("access", logging.INFO, "", 0, text, None, None))

    def handleError(self, record: logging.LogRecord) -> None:
        """Let the exception pass; it is called while one is handled."""
        raise


def prune(folder: Path) -> None:
    """Remove the oldest files, of replicas long gone."""
    files = sorted(folder.glob("*.jsonl*"), key=lambda path: path.stat().st_mtime)
    for path in files[: max(0, len(files) - _FILES)]:
        with contextlib.suppress(OSError):
            path.unlink()


def ids_of(body: bytes) -> dict[str, list[str]]:
    """Ids in the body of a request that was refused, as far as it can be read."""
    if len(body) > _LARGEST:
        return {}
    names = {"request_id": "request_ids", "impression_id": "impressions"}
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    found: dict[str, list[str]] = {}
    requests = data.get("requests") if isinstance(data, dict) else None
    for one in [data, *(requests if isinstance(requests, list) else [])]:
        for name, key in names.items():
            value = one.get(name) if isinstance(one, dict) else None
            if isinstance(value, str) and value:
                found.setdefault(key, []).append(value[:_LONGEST])
    return found
