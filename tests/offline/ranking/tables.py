"""Small tables whose answers can be worked out by hand."""

from __future__ import annotations

import gzip
from pathlib import Path

# Popularity of training rows, by hand, with the last of each user held out:
#   user 1: 10, 20, 30 and then 40           user 4: 20, and 10 and 30 at one time: 30 is out
#   user 2: 10, 30, and then 20              user 5: 20, 10
#   user 3: 30, and then 10
# Held out: 40, 20, 10, 30, 10. Left: 10 from users 1, 2, 4; 20 from 1, 4, 5; 30 from 1, 2, 3.
RATINGS = """userId,movieId,rating,timestamp
1,10,4,100
1,20,3,200
1,30,5,300
1,40,1,400
2,10,2,100
2,30,3,150
2,20,4,160
3,10,5,500
3,30,4,499
4,20,4,10
4,30,3,20
4,10,5,20
5,20,1,1
5,10,1,2
"""

MOVIES = """movieId,title,genres
9,Nobody's (1999),Drama
10,Ten (1990),Comedy
20,Twenty (1991),Drama
30,Thirty (1992),Comedy|Drama
40,Forty (1993),(no genres listed)
"""


def movielens(folder: Path, *, packed: bool = False, **texts: str) -> Path:
    """A folder of MovieLens' files, gzipped if asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"ratings": RATINGS, "movies": MOVIES, **texts}.items():
        if packed:
            (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / f"{name}.csv").write_text(text)
    return folder


def own(folder: Path, *, packed: bool = False) -> Path:
    """The same as tables of our own, items in another order."""
    head, *rows = MOVIES.replace("(no genres listed)", "").strip().splitlines()
    return movielens(
        folder,
        packed=packed,
        interactions=RATINGS.replace("userId,movieId,rating", "user_id,item_id,weight"),
        items="\n".join([head.replace("movieId", "item_id"), *reversed(rows)]) + "\n",
        ratings="no,such\n1,2\n",
    )
