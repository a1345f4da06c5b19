"""Peak memory of the default run, all processes, a shared page counted in parts."""

from __future__ import annotations

import threading

import psutil

from benchmarks.core import Benchmark, Numbers, Row, at_most
from benchmarks.training import QUICK, trained

_EVERY = 0.25  # seconds


def children_bytes() -> tuple[int, int]:
    """Proportional and resident set size of this process's descendants, summed."""
    proportional = resident = 0
    for process in psutil.Process().children(recursive=True):
        try:
            memory = process.memory_full_info()
        except psutil.Error:
            continue
        proportional += getattr(memory, "pss", memory.rss)
        resident += memory.rss
    return proportional, resident


def measure(quick: bool) -> Numbers:
    """Watch the training command's processes while it runs.

    The resident size is kept beside the proportional one, because other
    processes of the machine that have loaded the same libraries make the
    latter smaller than it is without them.
    """
    proportional = resident = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal proportional, resident
        while not ended.wait(_EVERY):
            now = children_bytes()
            proportional, resident = max(proportional, now[0]), max(resident, now[1])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = trained(None, QUICK if quick else ())
    finally:
        ended.set()
        watcher.join()
    return {
        "peak_gb": round(proportional / 2**30, 3),
        "resident_gb": round(resident / 2**30, 3),
        "env_steps": result["env_steps"],
    }


def in_words(numbers: Numbers) -> str:
    """Both sizes."""
    return f"{numbers['peak_gb']:.2f} GB (resident {numbers['resident_gb']:.2f} GB)"


BENCHMARKS = (
    Benchmark(
        "memory",
        "peak proportional set size of the default run",
        measure,
        (
            Row(
                "memory of `make train`, all processes (peak of the proportional set size)",
                in_words,
                at_most("3 GB", "peak_gb", 3.0),
                at_most("1.5 GB", "peak_gb", 1.5),
            ),
        ),
    ),
)
