"""Keeps what was measured, with when and on what machine, in `results.json`."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from algorithms.accounting import cpu_seconds
from benchmarks.core import ROOT, Numbers

RESULTS = ROOT / "benchmarks" / "results.json"
_PACKAGES = ("ray", "torch", "numpy", "gymnasium", "recsim")

Results = dict[str, dict[str, Any]]


def read_results(path: Path = RESULTS) -> Results:
    """By benchmark; nothing where nothing was measured yet."""
    if not path.exists():
        return {}
    found: Results = json.loads(path.read_text(encoding="utf-8"))
    return found


def merged(results: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> Results:
    """Results with one benchmark's replaced, the others left as they are, sorted by name."""
    return dict(sorted({**results, name: dict(entry)}.items()))


def write_results(results: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(results, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def entry(numbers: Numbers, other_load: float, wall_seconds: float) -> dict[str, Any]:
    """A benchmark's numbers with when, where and beside what they were measured."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "wall_seconds": round(wall_seconds),
        "other_load": round(other_load, 2),
        "machine": machine(),
        "numbers": dict(numbers),
    }


def machine() -> dict[str, Any]:
    """The kind of machine and the versions, nothing that names it."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "versions": versions,
    }


def _cpu_model(source: Path = Path("/proc/cpuinfo")) -> str:
    if source.exists():
        for line in source.read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


class Neighbours:
    """How many cores were busy with something else while this process and its children worked."""

    def __init__(self) -> None:
        """Begin to watch."""
        self._began, self._busy, self._own = time.monotonic(), _busy(), cpu_seconds()

    def load(self) -> float:
        """Cores, on average since the beginning."""
        others = _busy() - self._busy - (cpu_seconds() - self._own)
        return max(0.0, others / max(1e-9, self.wall_seconds))

    @property
    def wall_seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began


def _busy() -> float:
    times = psutil.cpu_times()
    waiting = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
    # Guests' time is part of the user's.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - waiting - guests)
