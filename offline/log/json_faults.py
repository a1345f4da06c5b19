"""What to say of a line that is not a row of the log."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import simdjson

from offline.log.catalogue import Catalogues, Unknown
from offline.log.layout import empty_id, two_places
from offline.log.schema import COLUMNS, SCALAR_TYPES, Column, Header

_WORDS = {
    object: "a string",
    np.bool_: "true or false",
    np.int64: "a whole number",
    np.float32: "a number",
    np.float64: "a number",
}
_LARGEST: dict[type, float] = {np.int64: 2**63 - 1, np.float32: 3.4028235e38, np.float64: 1.8e308}


def is_json(line: bytes) -> bool:
    """Whether a line is whole: a row that is cut off anywhere is not valid."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def fault_of(line: bytes, header: Header, catalogues: Catalogues) -> str | None:
    """What is wrong with a line in itself, `None` for nothing."""
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            return "is no JSON object; a row is an object with a key for each column"
    except (ValueError, RecursionError):
        return "is not valid JSON"
    counts = {**header.widths}
    for axis, name in (("N", "candidate_ids"), ("K", "slate")):
        if not isinstance(row.get(name), list):
            return f"has no list '{name}'"
        counts[axis] = len(row[name])
    for column in COLUMNS.values():
        fault = _fault_of_value(column, row, counts)
        if fault is not None:
            return fault
    if row["candidates"] is not None and row["catalogue"]:
        return two_places(row["catalogue"])
    if row["candidates"] is None:
        try:
            catalogues.features(row["catalogue"], [row["candidate_ids"]])
        except Unknown as error:
            return str(error.args[0])
    try:
        simdjson.Parser().parse(line)
    except ValueError:
        return "is not valid JSON"
    return None


def _fault_of_value(column: Column, row: dict[str, Any], counts: dict[str, int]) -> str | None:
    name = column.name
    if name not in row:
        return f"has no '{name}'"
    value = row[name]
    if value is None:
        return None if column.fill is not None else f"'{name}' is null; it must be given"
    if not column.axes:
        return _fault_of_scalar(column, value, name, SCALAR_TYPES[column.dtype])
    if not isinstance(value, list):
        return f"'{name}' is {_shown(value)}; it must be a list"
    expected = math.prod(counts[axis] for axis in column.axes)
    if len(value) != expected:
        return f"'{name}' has {len(value)} entries; there must be {expected}"
    kinds: set[type] = {int} if column.dtype is np.bool_ else SCALAR_TYPES[column.dtype]
    for number, entry in enumerate(value):
        fault = _fault_of_scalar(column, entry, f"{name}[{number}]", kinds)
        if fault is not None:
            return fault
    return empty_id(name) if "" in value else None


def _fault_of_scalar(column: Column, value: Any, name: str, kinds: set[type]) -> str | None:
    is_bit = column.dtype is np.bool_ and kinds == {int}
    if type(value) not in kinds or (is_bit and value not in (0, 1)):
        words = "0 or 1" if is_bit else _WORDS[column.dtype]
        return f"'{name}' is {_shown(value)}; it must be {words}"
    if column.dtype is object or column.dtype is np.bool_:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return f"'{name}' is {value}; numbers must be finite"
    if abs(value) > _LARGEST[column.dtype]:
        return f"'{name}' is {value}; that is too large"
    return None


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
