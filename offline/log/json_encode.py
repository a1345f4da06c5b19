"""Rows as lines of JSON, one object each.

Numbers are the shortest that read back as the same float32; 1.0 is written as 1.
Whole columns are turned into text at once and cut apart after, which leaves one
bytes operation a row to Python.
"""

from __future__ import annotations

import numpy as np
import orjson

from offline.log.layout import nulls, real_sizes
from offline.log.rows import Array, Rows
from offline.log.schema import COLUMNS, Column, LogError

_TEMPLATE = b"{" + b",".join(b'"%b":%%b' % name.encode() for name in COLUMNS) + b"}\n"
_NULL = b"null"


def encode(rows: Rows) -> list[bytes]:
    """A line a row, each with its line break.

    Raises:
        LogError: a column is missing.
    """
    missing = [name for name in COLUMNS if name not in rows]
    if missing:
        raise LogError(f"rows to write lack the column '{missing[0]}'")
    offered, shown = real_sizes(rows)
    lines: list[bytes] = [b""] * len(rows)
    for size, slots in sorted(set(zip(offered.tolist(), shown.tolist(), strict=True))):
        alike = ((offered == size) & (shown == slots)).nonzero()[0]
        found = _encode_alike(rows.take(alike), {"N": size, "K": slots})
        for number, line in zip(alike.tolist(), found, strict=True):
            lines[number] = line
    return lines


def _encode_alike(rows: Rows, widths: dict[str, int]) -> list[bytes]:
    texts = []
    for name, column in COLUMNS.items():
        values = rows[name]
        for axis, letter in enumerate(column.axes, start=1):
            if letter in widths:
                values = values[(slice(None),) * axis + (slice(widths[letter]),)]
        texts.append(_texts(column, values))
    return [_TEMPLATE % parts for parts in zip(*texts, strict=True)]


def _texts(column: Column, values: Array) -> list[bytes]:
    if column.axes:
        texts = _arrays(column, values)
    elif column.dtype is object:
        known = {value: orjson.dumps(value) for value in set(values.tolist())}
        return [known[value] for value in values.tolist()]
    else:
        texts = _cut(values, b",")
    if column.fill is not None:
        for number in nulls(column, values).nonzero()[0].tolist():
            texts[number] = _NULL
    return texts


def _arrays(column: Column, values: Array) -> list[bytes]:
    if column.dtype is object:
        return [orjson.dumps(row) for row in values.tolist()]
    flat = values.reshape(len(values), -1)
    if not flat.shape[1]:
        return [b"[]"] * len(flat)
    if column.fill is not None and nulls(column, values).all():
        return [_NULL] * len(flat)
    if column.dtype is np.bool_:
        flat = flat.astype(np.int8)
    return [b"[%b]" % text for text in _cut(flat, b"],[")]


def _cut(values: Array, between: bytes) -> list[bytes]:
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    if values.dtype.kind == "f":
        text = text.replace(b".0,", b",").replace(b".0]", b"]")
        if b"-0" in text:  # an integer has no negative zero
            text = text.replace(b"-0,", b"-0.0,").replace(b"-0]", b"-0.0]")
    return text[values.ndim : -values.ndim].split(between)
