"""`python -m offline.tables`: your interactions, MovieLens or Open Bandit files, as a log."""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from algorithms.command import mistakes

if TYPE_CHECKING:
    from offline.data.building import Built, Tables
    from offline.data.declaring import Declared
    from offline.data.encoding import Encoding

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder of the log; a new one.")],
    interactions: Annotated[
        Path | None, typer.Option(help="CSV: user_id, item_id, timestamp, weight.")
    ] = None,
    items: Annotated[Path | None, typer.Option(help="CSV: item_id, and features.")] = None,
    users: Annotated[Path | None, typer.Option(help="CSV: user_id, and features.")] = None,
    movielens: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with ratings.csv and movies.csv.")
    ] = None,
    open_bandit: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of a campaign, such as random/men."),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Simulate users, and write their tables, too.")
    ] = False,
    synthetic_users: Annotated[int, typer.Option(help="Users of --synthetic.")] = 300,
    columns: Annotated[
        Path | None, typer.Option(help="YAML that says what the columns are; else inferred.")
    ] = None,
    write_columns: Annotated[
        Path | None, typer.Option(help="Save what the columns are taken for.")
    ] = None,
    encoding: Annotated[
        Path | None, typer.Option(help="Encode as an earlier log was: its folder.")
    ] = None,
    session_gap: Annotated[
        str, typer.Option(help="Pause that ends a session: a number and s, m, h or d.")
    ] = "30m",
    negatives: Annotated[int, typer.Option(help="Other items offered beside the taken one.")] = 19,
    pool: Annotated[str, typer.Option(help="They had come up by `then`, or `ever` do.")] = "then",
    drop_unknown: Annotated[
        bool, typer.Option("--drop-unknown", help="Leave out interactions with unknown items.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the sampled items, and of --synthetic.")] = 0,
    format: Annotated[str, typer.Option(help="json (lines) or parquet.")] = "json",
    key_file: Annotated[
        Path | None, typer.Option(help="Secret to hash ids with; or set RECSIM_LOG_KEY.")
    ] = None,
) -> None:
    """Make a log of single-item slates; see docs/own_data.md."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    from offline.exporting.folder import refuse_existing, stopping

    with mistakes(), stopping(out):
        from offline.data import movielens as films
        from offline.data.building import Choices, build
        from offline.log import LogError, Pseudonyms
        from offline.log.write import FORMATS

        only_one(
            {
                "--interactions": interactions is not None,
                "--movielens": movielens is not None,
                "--open-bandit": open_bandit is not None,
                "--synthetic": synthetic,
            }
        )
        refuse_ignored(
            {
                "--items": (items is not None, interactions is not None),
                "--users": (users is not None, interactions is not None),
                "--columns": (columns is not None, open_bandit is None),
                "--write-columns": (write_columns is not None, open_bandit is None),
                "--drop-unknown": (drop_unknown, open_bandit is None),
                "--pool": (pool != "then", open_bandit is None),
            }
        )
        if format not in FORMATS:
            raise LogError(f"--format is '{format}'; allowed are: {', '.join(FORMATS)}")
        refuse_existing(out)
        choices = Choices(
            duration(session_gap),
            negatives,
            drop_unknown,
            seed,
            format,
            Pseudonyms.find(key_file),
            pool,
        )
        if open_bandit is not None:
            from offline.data.open_bandit import convert

            print(f"{out}: {convert(open_bandit, out, choices, encoding)}")
            return
        inferred: Declared | None = None
        if synthetic:
            from offline.data.synthetic import write_tables

            # Beside the log, which is read by naming either folder.
            tables = own(*write_tables(out / "tables", synthetic_users, seed))
            out = out / "log"
        elif movielens is not None:
            tables, inferred = films.read(movielens), films.DECLARED
        else:
            assert interactions is not None
            if items is None:
                raise LogError("--interactions needs the table of its items, too; give --items")
            tables = own(interactions, items, users)
        fitted = fit(tables, columns, write_columns, encoding, inferred)
        report(build(tables, fitted, out, choices), out)


def only_one(sources: dict[str, bool]) -> None:
    """Refuse several sources, and none.

    Raises:
        LogError: which are given, and which there are.
    """
    from offline.log import LogError

    named = [name for name, given in sources.items() if given]
    if len(named) != 1:
        given = " and ".join(named) or "nothing"
        raise LogError(f"{given} is given; give one of: {', '.join(sources)}")


def refuse_ignored(options: dict[str, tuple[bool, bool]]) -> None:
    """Refuse options that the source has no use for.

    Args:
        options: by name, whether each is given and whether it would be looked at.

    Raises:
        LogError: the first one that would be ignored.
    """
    from offline.log import LogError

    for name, (given, used) in options.items():
        if given and not used:
            raise LogError(f"{name} changes nothing with this source; leave it out")


def duration(text: str) -> float:
    """Seconds of a text such as 30m.

    Raises:
        LogError: it is none.
    """
    from offline.log import LogError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None:
        raise LogError(f"'{text}' is no duration; write a number and s, m, h or d, such as 30m")
    return float(found[1]) * _UNITS[found[2]]


def own(interactions: Path, items: Path, users: Path | None) -> Tables:
    """Read the three files."""
    from offline.data.building import Tables
    from offline.data.reading import read_interactions, read_table

    return Tables(
        read_interactions(interactions),
        read_table(items, "item_id"),
        items,
        None if users is None else read_table(users, "user_id"),
        users,
    )


def fit(
    tables: Tables,
    columns: Path | None,
    write_columns: Path | None,
    encoding: Path | None,
    inferred: Declared | None,
) -> Encoding:
    """What turns the tables into features: an earlier log's, or one that is fitted to them.

    Says what the columns are taken for where nobody declared it.

    Raises:
        LogError: options that exclude each other, or a cell that its column cannot hold.
        ConfigError: the YAML does not fit the tables.
    """
    from offline.data.declaring import described, infer, read_declared, write_declared
    from offline.data.encoding import Encoding
    from offline.data.reading import cells_of
    from offline.log import LogError

    if encoding is not None:
        if columns is not None or write_columns is not None:
            raise LogError(
                "an earlier log's encoding says what the columns are; leave --columns out"
            )
        earlier = Encoding.load(encoding)
        users = None if tables.users is None else tables.users.column_names
        earlier.refuse_other(tables.items.column_names, users)
        return replace(earlier, candidates="sampled")
    named = {"items": tables.items, **({} if tables.users is None else {"users": tables.users})}
    if columns is not None:
        declared = read_declared(columns, named)
    else:
        declared = inferred or infer(tables.items, tables.users)
        print(f"# Columns, inferred; change them with --columns:\n{described(declared)}", end="")
    if write_columns is not None:
        write_declared(write_columns, declared)
    with cells_of(tables.items_path):
        fitted = Encoding.fit(declared._replace(users={}, history=None), tables.items)
    if tables.users is not None and tables.users_path is not None:
        with cells_of(tables.users_path):
            fitted = Encoding.fit(declared._replace(history=None), tables.items, tables.users)
    return remembering(fitted, declared, columns)


def remembering(fitted: Encoding, declared: Declared, columns: Path | None) -> Encoding:
    """The encoding with the history that a file declares, if it does.

    Raises:
        ConfigError: there is no such history.
    """
    from algorithms.layers import ConfigError
    from envs.history import History, Term

    if declared.history is None:
        return fitted
    try:
        terms = tuple(Term(**term.model_dump()) for term in declared.history)
        History(fitted.spec, terms)
    except ValueError as error:
        raise ConfigError(f"{columns}: {error}") from None
    return replace(fitted, terms=terms)


def report(built: Built, out: Path) -> None:
    """Say what came of it; the last line is for scripts."""
    if built.unknown_items:
        print(
            f"WARNING: {built.unknown_items:,} interactions with unknown items are left out.",
            file=sys.stderr,
        )
    if built.unknown_users:
        print(
            f"WARNING: {built.unknown_users:,} users are not in the table of users; their features "
            "count as unknown.",
            file=sys.stderr,
        )
    print(
        f"{out}: {built.sessions} sessions, {built.rows} rows, {built.users} users, "
        f"{built.items} items"
    )


if __name__ == "__main__":
    sys.exit(app())
