"""The parts of a split as tables, so that a policy can learn from one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from offline.exporting.folder import whole_folder
from offline.ranking.reading import Catalogue, Taken
from offline.ranking.splits import TEST, TRAIN, VALIDATION

FILES = {
    "train": (TRAIN,),
    "train_and_validation": (TRAIN, VALIDATION),
    "validation": (VALIDATION,),
    "test": (TEST,),
}
"""Files, and the parts that each holds."""


def write(
    target: Path, source: Path, catalogue: Catalogue, taken: Taken, part: NDArray[np.int8]
) -> str:
    """Write a folder of tables, all of it or nothing; a line that says what is in it.

    Args:
        target: a new folder: `items.csv`, `users.csv`, and a table of interactions for each
            of `FILES`.
        source: where the data came from, for the line.
        catalogue: users and items.
        taken: all interactions, (n,).
        part: of each, (n,).

    Raises:
        LogError: the folder holds something, or cannot be written.
    """
    counts = {}
    with whole_folder(target) as folder:
        for name, parts in FILES.items():
            rows = taken.rows(np.isin(part, parts))
            counts[name] = len(rows)
            table = pa.table(
                {
                    "user_id": pa.array(catalogue.user_ids[rows.user], pa.string()),
                    "item_id": pa.array(catalogue.item_ids[rows.item], pa.string()),
                    "timestamp": _whole(rows.time),
                    "weight": pa.array(rows.weight),
                }
            )
            pyarrow.csv.write_csv(table, folder / f"{name}.csv")
        pyarrow.csv.write_csv(catalogue.items, folder / "items.csv")
        pyarrow.csv.write_csv(catalogue.users, folder / "users.csv")
    said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
    return f"{target}: interactions of {source}: {said}"


def _whole(values: NDArray[np.float64]) -> pa.Array:
    """Whole numbers where all are, as most logs have them."""
    return pa.array(values.astype(np.int64) if (values == np.floor(values)).all() else values)
