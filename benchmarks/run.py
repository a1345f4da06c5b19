"""`python -m benchmarks.run`: measure, keep the results, and write the README's table."""

from __future__ import annotations

import difflib
import json
import sys
from typing import Annotated

import typer

from benchmarks.core import Numbers, benchmarks, in_fresh_process, measure
from benchmarks.results import Neighbours, entry, merged, read_results, write_results
from benchmarks.table import publish

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Run this one; may be repeated.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Short runs that show that all works; nothing is kept.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="Name every benchmark.")] = False,
    table: Annotated[
        bool,
        typer.Option("--table", help="Only write the README's table and docs/results.md anew."),
    ] = False,
) -> None:
    """Run benchmarks one after the other; a line of JSON for each."""
    if show:
        for benchmark in benchmarks().values():
            print(f"{benchmark.name:<16}{benchmark.summary}")
        return
    if table:
        publish(benchmarks(), read_results())
        return
    failed = [name for name in chosen(only) if not run(name, quick)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)


def chosen(only: list[str] | None) -> list[str]:
    """Names to run; ends the command for one that there is not."""
    for name in only or []:
        if name not in benchmarks():
            near = difflib.get_close_matches(name, benchmarks(), 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(benchmarks())}"
            print(f"unknown benchmark '{name}'; {hint}", file=sys.stderr)
            raise typer.Exit(2)
    return only or list(benchmarks())


def run(name: str, quick: bool) -> bool:
    """Run one, print its numbers, and keep them unless it was quick; whether it worked."""
    print(f"{name}: {benchmarks()[name].summary}", file=sys.stderr, flush=True)
    neighbours = Neighbours()
    try:
        numbers: Numbers = in_fresh_process(measure, name, quick)
    except Exception as error:  # the others are still worth their numbers
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return False
    found = entry(numbers, neighbours.load(), neighbours.wall_seconds)
    print(json.dumps({"benchmark": name, **found}), flush=True)
    if not quick:
        results = merged(read_results(), name, found)
        write_results(results)
        publish(benchmarks(), results)
    return True


if __name__ == "__main__":
    app()
