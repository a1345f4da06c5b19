"""Items on the server: candidates by filters and nearness, replaced while serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from algorithms.layers import ConfigError
from envs.spec import Feature, FeatureSpec
from offline.log.catalogue import write_catalogue
from offline.log.schema import LogError
from serve.asking import Flags, Offer, Positions, Wanted
from serve.problem import Refused, shown
from serve.schemas import bounds
from serve.settings import CatalogueSection
from serve.token import Floats


@dataclass(frozen=True, eq=False)
class Table:
    """All items of a catalogue; never changed, only replaced.

    Attributes:
        version: hash of ids and features, which the log names.
        ids: of the items.
        index: their positions.
        features: (items, D).
        columns: what else is known of them, to filter by.
        appeal: features to compare with the user's, (items, F), or `None`.
        user: columns of the user that those are compared with; `None`: appeal alone says it.
    """

    version: str
    ids: list[str]
    index: dict[str, int]
    features: Floats
    columns: pa.Table
    appeal: Floats | None
    user: slice | None


class Items:
    """A catalogue.

    Nearness is the spec's appeal, an exact matrix product over the items that pass
    the filters: at the sizes that one machine serves it costs less than an index that
    cannot filter. Where a spec declares no appeal, the order of the file counts.

    Attributes:
        table: the items; swapped as one reference.
    """

    def __init__(self, table: Table, settings: CatalogueSection) -> None:
        """Begin with a table."""
        self.table, self._limit = table, settings.limit

    def offer(self, wanted: Wanted) -> Offer:
        """Items to consider, in the order of the file.

        Raises:
            Refused: a column is not in the catalogue, or nothing is left.
        """
        table = self.table
        chosen = np.flatnonzero(_able(table, wanted))
        limit = self._limit if wanted.limit is None else wanted.limit
        if limit > self._limit:
            raise Refused(
                f"catalogue.limit is {limit}; up to {self._limit} items are considered",
                field="catalogue.limit",
            )
        pinned = [table.index[name] for name in wanted.pinned if name in table.index]
        if len(chosen) > limit:
            chosen = _nearest(table, wanted.user, chosen, limit, pinned)
        if not len(chosen):
            raise Refused(
                "no item of the catalogue passes catalogue.filters, eligible and excluded; ask "
                "for less",
                field="catalogue",
            )
        return Offer(
            [table.ids[position] for position in chosen.tolist()],
            table.features[chosen],
            table.version,
        )


def _able(table: Table, wanted: Wanted) -> Flags:
    able: Flags = np.ones(len(table.ids), np.bool_)
    if wanted.eligible is not None:
        able[:] = False
        able[[table.index[name] for name in wanted.eligible if name in table.index]] = True
    able[[table.index[name] for name in wanted.excluded if name in table.index]] = False
    for name, values in wanted.filters.items():
        able &= _matching(table.columns, name, values)
    return able


def _matching(columns: pa.Table, name: str, values: Sequence[str | int | float | bool]) -> Flags:
    field = f"catalogue.filters.{name}"
    if name not in columns.column_names:
        names = ", ".join(columns.column_names) or "none"
        raise Refused(f"{field} is no column of the catalogue; there are: {names}", field=field)
    column = columns[name]
    try:
        allowed = pa.array(values, column.type)
        if pa.types.is_integer(column.type) and allowed.to_pylist() != list(values):
            raise pa.ArrowInvalid("not whole")
        found: Flags = pc.is_in(column, allowed).to_numpy().astype(np.bool_)
    except (pa.ArrowException, OverflowError):
        raise Refused(
            f"{field} is {shown(list(values))} that are no values of the column, which holds "
            f"{column.type}; give such values",
            field=field,
        ) from None
    return found


def _nearest(
    table: Table, user: Floats, chosen: Positions, limit: int, pinned: list[int]
) -> Positions:
    """The best by appeal, ties and no appeal by position; pinned ones always."""
    if table.appeal is None:
        scores = -chosen.astype(np.float32)
    elif table.user is None:
        scores = table.appeal[chosen, 0]
    else:
        scores = (table.appeal @ user[table.user])[chosen]
    scores[np.isin(chosen, pinned)] = np.inf
    # Faster than sorting: those above the last one taken, and as many of its equals as fit.
    last = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    above, equal = np.flatnonzero(scores > last), np.flatnonzero(scores == last)
    best = np.concatenate([above, equal[: limit - len(above)]])
    return np.sort(chosen[best])


def load_items(path: Path, spec: FeatureSpec, log: Path) -> Table:
    """Read a catalogue, and put a copy into the log's folder, which rows refer to.

    Args:
        path: a Parquet or CSV file with a column `id`, and for each candidate feature a
            column of its name; one of several numbers is a list there, or as many
            columns NAME_0, NAME_1 and so on.
        spec: of the features.
        log: folder of the log.

    Raises:
        ConfigError: the file cannot be used.
    """
    try:
        read = _read(path)
    except OSError as error:
        raise ConfigError(f"cannot read the catalogue {path}: {error.strerror or error}") from None
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the catalogue {path} is no Parquet or CSV file ({reason})") from None
    if "id" not in read.column_names:
        raise ConfigError(f"the catalogue {path} has no column 'id'; name each item there")
    if read["id"].null_count:
        raise ConfigError(f"the catalogue {path} has an item without an id; name each item")
    ids = [str(name) for name in read["id"].to_pylist()]
    if not ids:
        raise ConfigError(f"the catalogue {path} has no items")
    used = ["id"]
    blocks = [_block(read, path, feature, used) for feature in spec.candidate]
    features = np.ascontiguousarray(np.concatenate(blocks, axis=1), np.float32)
    try:
        version = write_catalogue(log, ids, features)
    except LogError as error:
        raise ConfigError(f"the catalogue {path} cannot be used: {error}") from None
    appeal, user = _appeal(spec, features)
    return Table(
        version,
        ids,
        {name: position for position, name in enumerate(ids)},
        features,
        _filterable(read.drop_columns(used)),
        appeal,
        user,
    )


def _read(path: Path) -> pa.Table:
    if path.suffix == ".csv":
        # Ids are words, also where they look like numbers.
        options = pacsv.ConvertOptions(column_types={"id": pa.string()})
        return pacsv.read_csv(path, convert_options=options)
    return pq.read_table(path)


def _filterable(columns: pa.Table) -> pa.Table:
    """Columns that hold a value each, as types that values can be looked up in."""
    flat = [field.name for field in columns.schema if not pa.types.is_nested(field.type)]
    columns = columns.select(flat)
    return columns.cast(
        pa.schema([(field.name, _looked_up(field.type)) for field in columns.schema])
    )


def _looked_up(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _looked_up(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.float32() if pa.types.is_float16(kind) else kind


def _block(read: pa.Table, path: Path, feature: Feature, used: list[str]) -> Floats:
    """Columns of a feature, (items, size)."""
    names = [feature.name]
    if feature.size > 1 and feature.name not in read.column_names:
        names = [f"{feature.name}_{column}" for column in range(feature.size)]
    missing = [name for name in names if name not in read.column_names]
    if missing:
        raise ConfigError(f"the catalogue {path} has no column '{missing[0]}'; add the feature")
    try:
        columns = [np.array(read[name].to_pylist(), np.float32) for name in names]
        found = np.concatenate([column.reshape(len(read), -1) for column in columns], axis=1)
    except (ValueError, TypeError):
        raise ConfigError(
            f"the catalogue {path} holds something else than {feature.size} numbers an item in "
            f"'{feature.name}'"
        ) from None
    low, high = bounds(feature)
    outside = ~((found >= low) & (found <= high)).all(axis=1)
    if found.shape[1] != feature.size or outside.any():
        item = read["id"][int(outside.argmax())]
        raise ConfigError(
            f"the catalogue {path} has {found.shape[1]} numbers in '{feature.name}' of item "
            f"'{item}'; allowed are {feature.size} from {low:g} to {high:g}"
        )
    used.extend(names)
    return found


def _appeal(spec: FeatureSpec, features: Floats) -> tuple[Floats | None, slice | None]:
    if spec.appeal is None:
        return None, None
    user, item = spec.appeal
    columns = np.ascontiguousarray(features[:, spec.candidate_slice(item)])
    return columns, None if user is None else spec.user_slice(user)
