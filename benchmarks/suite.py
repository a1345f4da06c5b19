"""Wall time of `make test` once everything is installed."""

from __future__ import annotations

import subprocess
import time

from benchmarks.core import ROOT, Benchmark, Goal, Numbers, Row


def measure(quick: bool) -> Numbers:
    """Run it; when quick, only collect the tests."""
    command = ["make", "test"] if not quick else ["make", "--dry-run", "test"]
    began = time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = ended.stdout.strip().splitlines() or [""]
    return {
        "minutes": round((time.monotonic() - began) / 60, 2),
        "passed": ended.returncode == 0,
        "summary": lines[-1].strip("= "),
    }


def _within(minutes: float) -> Goal:
    def met(numbers: Numbers) -> bool:
        return bool(numbers["passed"] and numbers["minutes"] <= minutes)

    return Goal(f"{minutes:g} minutes", met)


def in_words(numbers: Numbers) -> str:
    """The minutes, and whether the tests passed."""
    failed = "" if numbers["passed"] else ", with failures"
    return f"{numbers['minutes']:.1f} minutes{failed}"


BENCHMARKS = (
    Benchmark(
        "tests",
        "wall time of `make test` after installation",
        measure,
        (Row("`make test`, after installation", in_words, _within(10), _within(4)),),
    ),
)
