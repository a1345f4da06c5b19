"""The demo's two processes: started, watched and stopped together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence

import psutil

STOP_SECONDS = 40.0
"""For a process to stop by itself; the endpoint lets requests in flight finish."""


class Child:
    """A command of ours in a session of its own: Ctrl-C in a terminal does not reach it."""

    def __init__(
        self, name: str, words: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it; what it says on standard error is the user's to read."""
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def status(self) -> int | None:
        """With which it ended; `None` while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.status is None:
            self._process.terminate()

    def stop(self) -> None:
        """Wait until it has stopped; what then still runs of its session is killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        left = _session(self._process.pid)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=5)
        self._process.wait()


def _session(leader: int) -> list[psutil.Process]:
    """Processes of the session that a process began."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def answers(url: str) -> bool:
    """Whether something answers there with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def wait_for(
    ready: Callable[[], bool], children: Sequence[Child], asked: Callable[[], bool], seconds: float
) -> Child | None:
    """Wait until it is so, a child ends, a stop is asked for, or the time is over.

    Returns:
        The child that has ended, if one has.

    Raises:
        TimeoutError: the time is over.
    """
    deadline = time.monotonic() + seconds
    while not asked():
        ended = next((child for child in children if child.status is not None), None)
        if ended is not None or ready():
            return ended
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)
    return None


def stop_all(children: Sequence[Child]) -> None:
    """Stop them together; a second Ctrl-C must not leave one behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.stop()
