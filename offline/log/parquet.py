"""Rows as Arrow tables: the same columns as in JSON, arrays as flat lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline.log.catalogue import Catalogues, Unknown
from offline.log.layout import arrange, empty_id, nulls, real_sizes, two_places
from offline.log.rows import Array, Decoded, Rows
from offline.log.schema import COLUMNS, SCHEMA_VERSION, Column, Header, LogError

ROW_GROUP = 16_384
"""Rows that are decoded together; 20 MB where a row holds 300 numbers."""

_TYPES = {
    object: pa.string(),
    np.bool_: pa.bool_(),
    np.int64: pa.int64(),
    np.float32: pa.float32(),
    np.float64: pa.float64(),
}


def _type(column: Column) -> pa.DataType:
    single = _TYPES[column.dtype]
    # Elements that cannot be null are read four times faster.
    return pa.list_(pa.field("element", single, nullable=False)) if column.axes else single


SCHEMA = pa.schema(
    [pa.field(name, _type(c), nullable=c.fill is not None) for name, c in COLUMNS.items()],
    metadata={"schema_version": str(SCHEMA_VERSION)},
)
STRINGS = [name for name, c in COLUMNS.items() if c.dtype is object and not c.axes]
REPEATED = [
    f"{name}.list.element" if column.axes else name
    for name, column in COLUMNS.items()
    if column.dtype is object
]
"""Where one value stands in many rows, by Parquet's paths."""


def table_of(rows: Rows) -> pa.Table:
    """Rows as a table."""
    counts = dict(zip("NK", real_sizes(rows), strict=True))
    arrays = [_array(column, rows[name], counts) for name, column in COLUMNS.items()]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _array(column: Column, values: Array, counts: dict[str, Array]) -> pa.Array:
    absent = nulls(column, values)
    if not column.axes:
        return pa.array(values, _TYPES[column.dtype], mask=absent)
    axis = column.axes[0]
    own = counts[axis] if axis in counts else np.full(len(values), values.shape[1])
    own = np.where(absent, 0, own)
    kept = np.arange(values.shape[1]) < own[:, None]
    flat = values.ravel() if kept.all() else values[kept].ravel()
    each = own * int(np.prod(values.shape[2:]))
    offsets = np.concatenate([[0], each.cumsum()]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets),
        pa.array(flat, _TYPES[column.dtype]),
        type=_type(column),
        mask=pa.array(absent) if absent.any() else None,
    )


def read_file(
    path: Path, header: Header, names: Sequence[str], catalogues: Catalogues, rows: int
) -> Iterator[Decoded]:
    """Rows of a file, so many at a time.

    Raises:
        LogError: it is no Parquet file, is of another schema version, or has other columns.
    """
    # How many candidates a row has is read off one of the two.
    needed = {*names, "slate"} | ({"catalogue"} if "candidates" in names else set())
    if catalogues.exist or "candidates" not in names:
        needed |= {"candidate_ids"}
    columns = [column for name, column in COLUMNS.items() if name in needed]
    try:
        with pq.ParquetFile(path, read_dictionary=STRINGS) as file:
            _check_schema(path, file.schema_arrow, columns)
            wanted = [column.name for column in columns]
            for batch in file.iter_batches(rows, columns=wanted, use_threads=False):
                yield _decode(batch, columns, header, names, catalogues)
    except Unknown as error:
        raise LogError(f"{path}: {error.args[0]}") from None
    except (pa.ArrowInvalid, OSError) as error:
        first = str(error).splitlines()[0]
        raise LogError(f"{path}: cannot be read as Parquet ({first}); use another copy") from None


def _check_schema(path: Path, schema: pa.Schema, columns: Sequence[Column]) -> None:
    version = (schema.metadata or {}).get(b"schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise LogError(
            f"{path}: it is of schema version {version}, but this installation reads "
            f"{SCHEMA_VERSION}; use the version of rllib-recsim that wrote it"
        )
    for column in columns:
        if column.name not in schema.names:
            raise LogError(f"{path}: there is no column '{column.name}'")
        found, expected = schema.field(column.name).type, SCHEMA.field(column.name).type
        element = found
        if column.axes:
            element = found.value_type if pa.types.is_list(found) else None
        elif pa.types.is_dictionary(found):
            element = found.value_type
        if element != _TYPES[column.dtype]:
            raise LogError(f"{path}: the column '{column.name}' is {found}; it must be {expected}")


def _decode(
    batch: pa.RecordBatch,
    columns: Sequence[Column],
    header: Header,
    names: Sequence[str],
    catalogues: Catalogues,
) -> Decoded:
    faults = _faults(batch, columns, header)
    kept = np.setdiff1d(np.arange(len(batch)), [number for number, _ in faults])
    if faults:
        batch = batch.take(pa.array(kept))
    counts = _counts(batch, header)
    found = {c.name: _values(batch.column(c.name), c, counts, header.widths) for c in columns}
    if "candidates" in names and batch.column("candidates").null_count:
        absent = np.asarray(batch.column("candidates").is_null())
        lists = batch.column("candidate_ids").to_pylist()
        ids = [row if null else None for row, null in zip(lists, absent, strict=True)]
        found["candidates"] = catalogues.fill_in(found["candidates"], ids, found["catalogue"])
    return Decoded(Rows({name: found[name] for name in names}), kept, faults)


def _counts(batch: pa.RecordBatch, header: Header) -> dict[str, Array]:
    if "candidate_ids" in batch.schema.names:
        offered = _lengths(batch.column("candidate_ids"))
    else:
        offered = _lengths(batch.column("candidates")) // header.widths["D"]
    return {"N": offered, "K": _lengths(batch.column("slate"))}


def _lengths(values: pa.ListArray) -> Array:
    """Elements of each row, 0 for null."""
    return np.asarray(values.value_lengths().fill_null(0)).astype(np.int64)


def _faults(
    batch: pa.RecordBatch, columns: Sequence[Column], header: Header
) -> list[tuple[int, str]]:
    """Rows that say nothing where they must, or not as much as they must."""
    found: dict[int, str] = {}
    counts = _counts(batch, header)
    for column in columns:
        values = batch.column(column.name)
        absent = np.asarray(values.is_null())
        if column.fill is None and absent.any():
            for number in absent.nonzero()[0].tolist():
                found.setdefault(number, f"'{column.name}' is null; it must be given")
        if not column.axes:
            continue
        expected = np.full(len(batch), 1)
        for axis in column.axes:
            expected = expected * (counts[axis] if axis in counts else header.widths[axis])
        sizes = _lengths(values)
        for number in ((sizes != expected) & ~absent).nonzero()[0].tolist():
            found.setdefault(
                number,
                f"'{column.name}' has {sizes[number]} entries; there must be {expected[number]}",
            )
        if values.values.null_count:
            for number, row in enumerate(values.to_pylist()):
                if row is not None and None in row:
                    found.setdefault(number, f"'{column.name}' has an entry that is null")
        if column.dtype is object and pc.any(pc.equal(values.flatten(), "")).as_py():
            for number, row in enumerate(values.to_pylist()):
                if row is not None and "" in row:
                    found.setdefault(number, empty_id(column.name))
    if {"candidates", "catalogue"} <= set(batch.schema.names):
        versions = batch.column("catalogue").cast(pa.string())
        named = pc.not_equal(versions, "").fill_null(False)
        both = np.asarray(pc.and_(named, batch.column("candidates").is_valid()))
        for number in both.nonzero()[0].tolist():
            found.setdefault(number, two_places(versions[number].as_py()))
    return sorted(found.items())


def _values(
    values: pa.Array, column: Column, counts: Mapping[str, Array], widths: Mapping[str, int]
) -> Array:
    if not column.axes:
        if column.dtype is object:
            return _strings(values)
        if values.null_count:
            values = values.fill_null(pa.scalar(column.fill, values.type))
        return np.array(values, column.dtype)
    present = ~np.asarray(values.is_null())
    flat = values.flatten()
    whole = _strings(flat) if column.dtype is object else np.array(flat, column.dtype)
    return arrange(column, whole, present, _lengths(values)[present], counts, widths)


def _strings(values: pa.Array) -> Array:
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    known = np.array(values.dictionary.to_pylist(), object)
    found: Array = known[np.asarray(values.indices)]
    return found
