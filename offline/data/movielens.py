"""MovieLens' files: ratings.csv and movies.csv, gzipped or not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from offline.data.building import Tables
from offline.data.declaring import ColumnSection, Declared
from offline.data.reading import read_interactions, read_table
from offline.log import LogError

DECLARED = Declared(
    items={
        "title": ColumnSection(type="text"),
        "genres": ColumnSection(type="categories", encoding="one_hot", separator="|"),
        "year": ColumnSection(type="number", scale="standard"),
    },
    users={},
)
"""What the columns are: a film's year stands at the end of its title."""

_NONE = "(no genres listed)"


def read(folder: Path) -> Tables:
    """Ratings as weights, and films with their genres and years.

    Raises:
        LogError: a file is missing or faulty.
    """
    ratings, movies = find(folder, "ratings.csv"), find(folder, "movies.csv")
    found = read_interactions(ratings, "userId", "movieId", "timestamp", "rating")
    films = read_table(movies, "movieId")
    for name in ("title", "genres"):
        if name not in films.column_names:
            raise LogError(f"{movies}:1: there is no column '{name}'")
    title = films["title"].combine_chunks()
    genres = films["genres"].combine_chunks()
    year = pc.struct_field(pc.extract_regex(title, r"\((?P<year>\d{4})\)\s*$"), "year")
    table = pa.table(
        {
            "item_id": films["movieId"],
            "title": title,
            "genres": pc.if_else(pc.equal(genres, _NONE), "", genres),
            "year": pc.fill_null(year, ""),
        }
    )
    return Tables(found, table, movies)


def find(folder: Path, name: str) -> Path:
    """A file of a folder, gzipped or not.

    Raises:
        LogError: there is none.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise LogError(f"{folder} has no {name} or {name}.gz; name the folder that holds it")
