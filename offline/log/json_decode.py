"""Lines of JSON as rows.

simdjson parses a line and hands its numbers over as a buffer; what is left to
Python is one look-up a field. A line that does not fit costs a second, slow look
at all lines decoded with it, which finds out what to say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import simdjson

from offline.log.catalogue import Catalogues
from offline.log.json_faults import fault_of
from offline.log.layout import Misfit, arrange
from offline.log.rows import Array, Decoded, Rows
from offline.log.schema import COLUMNS, SCALAR_TYPES, Column, Header

_BUFFERS = {np.float32: "d", np.float64: "d", np.int64: "i", np.bool_: "i"}
_RAW = {"d": np.float64, "i": np.int64}
_bytes = attrgetter("size")
_ITEM = 8
"""Bytes of one number in a buffer."""


def decode(
    lines: Sequence[bytes], header: Header, names: Sequence[str], catalogues: Catalogues
) -> Decoded:
    """Rows of some lines.

    Args:
        lines: one JSON object each.
        header: of their log.
        names: columns to read.
        catalogues: where features of candidates are looked up.
    """
    try:
        return Decoded(_decode(lines, header, names, catalogues), np.arange(len(lines)), [])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        found = [fault_of(line, header, catalogues) for line in lines]
    good = [number for number, fault in enumerate(found) if fault is None]
    rows = _decode([lines[number] for number in good], header, names, catalogues)
    faults = [(number, fault) for number, fault in enumerate(found) if fault is not None]
    return Decoded(rows, np.array(good, np.int64), faults)


def _decode(
    lines: Sequence[bytes], header: Header, names: Sequence[str], catalogues: Catalogues
) -> Rows:
    # The slate and the ids say how many slots and candidates a row has.
    needed = {*names, "slate"} | ({"catalogue"} if "candidates" in names else set())
    columns = [column for name, column in COLUMNS.items() if name in needed]
    values, offered = _gather(lines, columns)
    counts = {
        "N": np.array(offered, np.int64),
        "K": np.fromiter(map(_bytes, values["slate"]), np.int64, len(lines)) // _ITEM,
    }
    found: dict[str, Array] = {}
    for column in columns:
        if not column.axes:
            found[column.name] = _scalars(column, values[column.name])
        elif column.dtype is object:
            found[column.name] = _strings(column, values[column.name], counts)
        else:
            found[column.name] = _numbers(column, values[column.name], counts, header.widths)
    if "candidates" in names and any(values["catalogue"]):
        both = zip(values["candidates"], values["catalogue"], strict=True)
        if any(version and features is not None for features, version in both):
            raise Misfit
    if "candidates" in names and values["candidates"].count(None):
        found["candidates"] = catalogues.fill_in(
            found["candidates"], values["candidates/ids"], found["catalogue"]
        )
    return Rows({name: found[name] for name in names})


def _gather(
    lines: Sequence[bytes], columns: Sequence[Column]
) -> tuple[dict[str, list[Any]], list[int]]:
    """Values, buffers and lists of every line, by column; and how many candidates each has."""
    values: dict[str, list[Any]] = {column.name: [] for column in columns}
    scalars = [(c.name, values[c.name].append) for c in columns if not c.axes]
    buffers = [
        (c.name, _BUFFERS[c.dtype], values[c.name].append)
        for c in columns
        if c.axes and c.dtype is not object
    ]
    lists = [(c.name, values[c.name].append) for c in columns if c.axes and c.dtype is object]
    offered: list[int] = []
    without_features = values.setdefault("candidates/ids", [])
    wants_features = "candidates" in values
    parse: Callable[[bytes], Any] = simdjson.Parser().parse
    for line in lines:
        # The parser goes on only when nothing that it gave lives any more.
        row = value = ids = None
        row = parse(line)
        for name, put in scalars:
            put(row[name])
        for name, kind, put in buffers:
            value = row[name]
            put(None if value is None else value.as_buffer(of_type=kind))
        for name, put in lists:
            put(row[name].as_list())
        ids = row["candidate_ids"]
        offered.append(len(ids))
        if wants_features:
            without_features.append(ids.as_list() if values["candidates"][-1] is None else None)
    return values, offered


def _scalars(column: Column, values: list[Any]) -> Array:
    kinds = set(map(type, values))
    if type(None) in kinds and column.fill is not None:
        kinds.remove(type(None))
        values = [column.fill if value is None else value for value in values]
    if not kinds <= SCALAR_TYPES[column.dtype]:
        raise Misfit
    with np.errstate(over="ignore"):
        return np.array(values, column.dtype)


def _strings(column: Column, rows: list[list[Any]], counts: Mapping[str, Array]) -> Array:
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    flat: list[str] = list(chain.from_iterable(rows))
    if not set(map(type, flat)) <= {str} or "" in flat:
        raise Misfit
    there = np.ones(len(rows), np.bool_)
    return arrange(column, np.array(flat, object), there, sizes, counts, {})


def _numbers(
    column: Column, buffers: list[Any], counts: Mapping[str, Array], widths: Mapping[str, int]
) -> Array:
    present = np.ones(len(buffers), np.bool_)
    if buffers.count(None):
        present = np.array([buffer is not None for buffer in buffers])
        buffers = [buffer for buffer in buffers if buffer is not None]
    raw = np.frombuffer(b"".join(buffers), _RAW[_BUFFERS[column.dtype]])
    if column.dtype is np.bool_ and ((raw < 0) | (raw > 1)).any():
        raise Misfit
    with np.errstate(over="ignore"):  # what is infinite then is found by the checks
        flat: Array = raw.astype(column.dtype)
    sizes = np.fromiter(map(_bytes, buffers), np.int64, len(buffers)) // _ITEM
    return arrange(column, flat, present, sizes, counts, widths)
