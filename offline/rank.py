"""`python -m offline.rank NAME... --data DIR`: rank catalogues for held-out interactions."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import INTERRUPTED, fail, mistakes

if TYPE_CHECKING:
    from offline.ranking.choosing import Chosen
    from offline.ranking.evaluating import Measured
    from offline.ranking.splits import Fold

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_OF_LISTS = ("on", "k", "metrics", "config", "overrides", "encoding", "seed")
"""Options that say how scorers rank, and how they are judged."""


@app.command()
def main(
    context: typer.Context,
    scorers: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN|SCORER...", help="Run folders, and names; see --list."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="interactions.csv, items.csv; or MovieLens' files."),
    ] = None,
    log: Annotated[
        str | None, typer.Option(help="Instead: what the slates of a log are like, by kinds.")
    ] = None,
    split: Annotated[str, typer.Option(help="leave-last-out or time.")] = "leave-last-out",
    share: Annotated[
        float | None, typer.Option(help="Of the interactions held out, with --split time [0.2].")
    ] = None,
    on: Annotated[str, typer.Option(help="Judge by the test part, or the validation.")] = "test",
    k: Annotated[int, typer.Option("--k", help="Places of a list.")] = 10,
    metrics: Annotated[
        str | None, typer.Option(help="Names with commas; all if not given.")
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help="Column of items that says what kinds there are.")
    ] = None,
    drop_unknown: Annotated[
        bool, typer.Option("--drop-unknown", help="Leave out interactions with unknown items.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="YAML of settings of the scorers.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As in item_knn.neighbours=50."),
    ] = None,
    encoding: Annotated[
        Path | None, typer.Option(help="Log whose encoding a policy knows; else its run's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what scorers draw.")] = 0,
    write_split: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the parts as tables, and stop.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a scorer.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Name every scorer.")] = False,
) -> None:
    """Judge rankings of all items by what users went on to take; seen items are left out."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if show:
        print_list()
        return
    with mistakes():
        from offline.log import LogError
        from offline.ranking import report
        from offline.ranking.choosing import choose
        from offline.ranking.evaluating import check_k
        from offline.ranking.reading import read
        from offline.ranking.splits import fold as fold_of
        from offline.ranking.splits import split as split_of

        if log is not None:
            if scorers or data is not None or write_split is not None:
                raise LogError("--log ranks nothing; leave scorers, --data and --write-split out")
            refuse_idle(context, "--log", (*_OF_LISTS, "split", "share", "drop_unknown"))
            logged(log, groups, as_json)
            return
        names = report.wanted(metrics, k)
        if not 0 <= seed < 2**63:
            raise LogError(f"--seed is {seed}; it must be 0 or larger, and below 2^63")
        if share is not None and split != "time":
            raise LogError("--share changes nothing with this --split; use it with --split time")
        if write_split is None:
            chosen = choose(scorers or [], config, overrides or [], encoding)
        elif scorers:
            raise LogError("--write-split ranks nothing; leave the names of scorers out")
        else:
            refuse_idle(context, "--write-split", (*_OF_LISTS, "groups", "as_json"))
        if data is None:
            raise LogError("there is nothing to rank; give the folder of the tables with --data")
        catalogue, taken = read(data, groups, drop_unknown)
        parts = split_of(taken, split, 0.2 if share is None else share)
        if write_split is not None:
            from offline.ranking.writing import write

            print(write(write_split, data, catalogue, taken, parts))
            return
        check_k(k, catalogue.num_items)
        fold = fold_of(catalogue, taken, parts, on)
        if not as_json:
            print(report.head(fold, split, on), flush=True)
        judge_all(chosen, fold, k, seed, names, report.about(fold, split, on) if as_json else None)


def refuse_idle(context: typer.Context, flag: str, names: tuple[str, ...]) -> None:
    """Refuse options that were given and that another one leaves without effect."""
    from offline.log import LogError

    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            said = {"overrides": "set", "as_json": "json"}.get(name, name).replace("_", "-")
            raise LogError(f"--{said} changes nothing with {flag}; leave it out")


def judge_all(
    chosen: list[Chosen],
    fold: Fold,
    k: int,
    seed: int,
    metrics: list[str],
    about: dict[str, Any] | None,
) -> None:
    """Print each scorer's result: as JSON with what it is about, else in one table at the end."""
    from offline.ranking import report

    found: list[tuple[str, Measured]] = []
    try:
        for one in chosen:
            found.append((one.name, ranked(one, fold, k, seed)))
            if about is not None:
                line = report.plain(*found[-1], k, metrics, about)
                print(json.dumps(line, allow_nan=False), flush=True)
    finally:
        # Also of those before one that failed or was stopped.
        if about is None and found:
            report.show(found, k, metrics)


def logged(log: str, groups: str | None, as_json: bool) -> None:
    """Say what a log's slates are like."""
    from offline.log import open_log
    from offline.ranking.logged import measure

    found = measure(open_log(log), groups)
    if as_json:
        print(json.dumps({"log": log, **found}, allow_nan=False))
        return
    numbers = [f"{name} {value:.4f}" for name, value in found.items() if isinstance(value, float)]
    print(f"{log}: {', '.join(numbers)} ({found['rows']:,} slates, {found['kinds']} kinds)")


def ranked(chosen: Chosen, fold: Fold, k: int, seed: int) -> Measured:
    """Let a scorer learn, and judge it."""
    from offline.ranking.evaluating import evaluate
    from offline.ranking.report import Users

    try:
        scorer = chosen.fit(fold, seed)
        with Users(chosen.name, len(fold.users)) as progress:
            return evaluate(scorer, fold, k, progress)
    except KeyboardInterrupt:
        fail(f"Stopped while '{chosen.name}' was judged", INTERRUPTED)
        raise


def print_list() -> None:
    """A line for every scorer."""
    from offline.ranking.choosing import scorer_names, summary

    for name in scorer_names():
        print(f"{name:<20}{summary(name)}")


if __name__ == "__main__":
    sys.exit(app())
