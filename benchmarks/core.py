"""What a benchmark is, and where it runs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parent.parent
Numbers = Mapping[str, Any]
"""What a benchmark measured, as JSON holds it."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Goal:
    """A figure to reach.

    Attributes:
        text: as it stands in the table.
        met: whether the numbers reach it.
    """

    text: str
    met: Callable[[Numbers], bool]


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: was measured.
        measured: the numbers in words.
        must: what it has to reach; nothing for a reference.
        aim: what it should reach.
    """

    what: str
    measured: Callable[[Numbers], str]
    must: Goal | None = None
    aim: Goal | None = None


@dataclass(frozen=True)
class Benchmark:
    """Something to measure.

    Attributes:
        name: on the command line and in the results.
        summary: one line for `--list`.
        measure: returns the numbers; True asks for a short run that only shows that it works.
        rows: lines of the table.
        section: text of its own to stand after the table.
    """

    name: str
    summary: str
    measure: Callable[[bool], Numbers]
    rows: tuple[Row, ...] = ()
    section: Callable[[Numbers], str] | None = None


def at_least(text: str, key: str, least: float) -> Goal:
    """A goal for one number."""
    return Goal(text, lambda numbers: numbers[key] >= least)


def at_most(text: str, key: str, most: float) -> Goal:
    """A goal for one number."""
    return Goal(text, lambda numbers: numbers[key] <= most)


ORDER = (
    "slateq",
    "slateq_5m",
    "no_quality",
    "time_to_174",
    "simulator",
    "throughput",
    "overhead",
    "workers",
    "memory",
    "tests",
    "lts_dqn",
    "lts_slateq",
    "boredom",
    "regret",
    "linucb",
    "bandit_speed",
    "ppo",
    "a2c",
    "baselines",
    "paper",
)
"""Lines of the table in this order; others follow by name."""


@cache
def benchmarks() -> dict[str, Benchmark]:
    """All benchmarks of this package by name, in the table's order."""
    found: dict[str, Benchmark] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name != "run":
            imported = importlib.import_module(f"benchmarks.{module.name}")
            found |= {each.name: each for each in getattr(imported, "BENCHMARKS", ())}
    known = [name for name in ORDER if name in found]
    return {name: found[name] for name in [*known, *sorted(set(found) - set(known))]}


def in_fresh_process(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call a module's function in a new process, whose CPU-seconds and memory start at nothing."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(name: str, quick: bool) -> Numbers:
    """Run one benchmark here."""
    return benchmarks()[name].measure(quick)
