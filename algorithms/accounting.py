"""CPU-seconds and memory of this process and all that it started, Ray's own included."""

from __future__ import annotations

import time

import psutil


def tree() -> list[psutil.Process]:
    """This process and its descendants."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def cpu_seconds() -> float:
    """User and system time of the tree since it began, with children that have ended."""
    total = 0.0
    for process in tree():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_bytes() -> int:
    """Proportional set size of the tree: a page shared by n processes counts 1/n for each."""
    total = 0
    for process in tree():
        try:
            memory = process.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(memory, "pss", memory.rss)
    return total


class Clock:
    """CPU-seconds by purpose, cheap enough to read at every iteration.

    Reading a whole process tree takes milliseconds, so the other processes are
    read again only after a while.

    Attributes:
        spent: CPU-seconds by purpose so far, with those of an interrupted run.
    """

    def __init__(self, spent: dict[str, float] | None = None, patience: float = 5.0) -> None:
        """Begin to count; what was spent before counts as start-up.

        Args:
            spent: by the run that is continued.
            patience: seconds for which a reading of other processes is good enough.
        """
        self.spent = {"startup": 0.0, "train": 0.0, "eval": 0.0, **(spent or {})}
        self._patience = patience
        self._mark = 0.0
        self._others, self._read_at = 0.0, float("-inf")

    def charge(self, purpose: str, exact: bool = False) -> float:
        """Book what was spent since the last call; returns that."""
        own, now = time.process_time(), time.monotonic()
        if exact or now - self._read_at > self._patience:
            self._others, self._read_at = max(self._others, cpu_seconds() - own), now
        spent = max(0.0, own + self._others - self._mark)
        self._mark += spent
        self.spent[purpose] += spent
        return spent
