"""The table in the README, and the page of details, written from the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.core import ROOT, Benchmark, Numbers, Row

README = ROOT / "README.md"
DETAILS = ROOT / "docs" / "results.md"
START, END = "<!-- benchmarks:start -->", "<!-- benchmarks:end -->"
SHARED = 0.1
"""Cores busy with something else, from which on a figure is marked."""

_OUTDATED = "measured by an earlier version of the benchmark; run it again"

_HEADER = """\
| what | must reach | aim | measured | passes |
| --- | --- | --- | --- | --- |"""

_DETAILS = """\
# Results in detail

Beside the table of the README; `python -m benchmarks.run --only NAME` measures one anew, and writes
both from `benchmarks/results.json`."""


def render(benchmarks: Mapping[str, Benchmark], results: Mapping[str, Any]) -> str:
    """The table of all that was measured, in the benchmarks' order."""
    measured = {name: results[name] for name in benchmarks if name in results}
    if not measured:
        return "Nothing measured yet: `make bench`.\n"
    lines = [_line(row, entry) for name, entry in measured.items() for row in benchmarks[name].rows]
    return "\n".join([_HEADER, *lines]) + f"\n\n{_notes(measured)}\n"


def details(benchmarks: Mapping[str, Benchmark], results: Mapping[str, Any]) -> str:
    """What benchmarks found beside the figures of the table, as a page."""
    parts = [_DETAILS]
    for name, benchmark in benchmarks.items():
        if benchmark.section is not None and name in results:
            found = _section(benchmark.section, results[name]["numbers"])
            title = benchmark.summary.partition(" (")[0]
            parts.append(f"## {title[0].upper()}{title[1:]}\n\n{found}")
    return "\n\n".join(parts) + "\n"


def _line(row: Row, entry: Mapping[str, Any]) -> str:
    numbers: Numbers = entry["numbers"]
    mark = " *" if entry["other_load"] >= SHARED else ""
    must = row.must.text if row.must else "-"
    aim = row.aim.text if row.aim else "-"
    try:
        found, passes = f"{row.measured(numbers)}{mark}", _passes(row, numbers)
    except (KeyError, TypeError):
        found, passes = _OUTDATED, "-"
    return f"| {row.what} | {must} | {aim} | {found} | {passes} |"


def _section(section: Callable[[Numbers], str], numbers: Numbers) -> str:
    try:
        return section(numbers).rstrip()
    except (KeyError, TypeError):
        return _OUTDATED


def _passes(row: Row, numbers: Numbers) -> str:
    if row.must is None:
        return "-"
    if not row.must.met(numbers):
        return "no"
    return "yes, and the aim" if row.aim is not None and row.aim.met(numbers) else "yes"


def _notes(measured: Mapping[str, Any]) -> str:
    """When and on what, once for each machine, and what a star means."""
    machines: dict[str, list[str]] = {}
    for entry in measured.values():
        found = entry["machine"]
        versions = ", ".join(f"{name} {text}" for name, text in found["versions"].items())
        where = f"{found['cpu']}, {found['cores']} cores, {found['memory_gb']} GB; {versions}"
        machines.setdefault(where, []).append(entry["date"])
    lines = [f"Measured {_span(dates)} on {where}." for where, dates in machines.items()]
    if any(entry["other_load"] >= SHARED for entry in measured.values()):
        lines.append(
            r"\* Something else kept the machine busy, or servers that the benchmark had started."
        )
    return "\n".join(lines)


def _span(dates: list[str]) -> str:
    first, last = min(dates), max(dates)
    return first if first == last else f"{first} to {last}"


def between_markers(text: str, content: str) -> str:
    """The text with what stands between the markers replaced.

    Raises:
        ValueError: the markers are not both there, in order and once.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(
            f"the README must hold the lines {START} and {END} once each, in this order; "
            "add them where the table should stand"
        )
    before, rest = text.split(START)
    return f"{before}{START}\n\n{content}\n{END}{rest.split(END)[1]}"


def publish(benchmarks: Mapping[str, Benchmark], results: Mapping[str, Any]) -> None:
    """Write the README's table and the page of details."""
    text = between_markers(README.read_text(encoding="utf-8"), render(benchmarks, results))
    README.write_text(text, encoding="utf-8")
    DETAILS.write_text(details(benchmarks, results), encoding="utf-8")
