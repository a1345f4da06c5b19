"""The Open Bandit Dataset (Saito et al. 2021, arXiv:2008.07146): logged items with propensities.

Each row of its files is one of three positions of a page, drawn apart from the
others: here a session of one step, whose slate holds one item out of all of the
campaign. The position is observed of the user.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from envs.spec import FeatureSpec, number
from offline.data.building import Choices, single_items
from offline.data.encoders import Encoder, Listed, Number
from offline.data.encoding import Encoding
from offline.data.movielens import find
from offline.data.reading import at, header_of, line_of, read_table
from offline.exporting.folder import refuse_existing, whole_folder
from offline.log import Header, LogError, LogWriter, Rows, write_catalogue

POSITIONS = ("1", "2", "3")
ITEM_HASHES = ("item_feature_1", "item_feature_2", "item_feature_3")
USER_HASHES = ("user_feature_0", "user_feature_1", "user_feature_2", "user_feature_3")
NEEDED = ("timestamp", "item_id", "position", "click", "propensity_score", *USER_HASHES)
_UNIFORM = 1e-6
_ROWS = 8192


def convert(folder: Path, target: Path, choices: Choices, encoding: Path | None = None) -> str:
    """Write a campaign's log.

    Args:
        folder: such as `random/men`; its name is the campaign's, its parent's the policy's.
        target: a new folder.
        choices: the format, and what ids are hashed with.
        encoding: of an earlier log, to encode users of another policy's log alike.

    Returns:
        What came of it.

    Raises:
        LogError: a file is missing or faulty, or the disk is full.
    """
    refuse_existing(target)
    path = find(folder, f"{folder.resolve().name}.csv")
    context = find(folder, "item_context.csv")
    items = canonical(read_table(context, "item_id"), context)
    shown = _read(path)
    if encoding is None:
        fitted = _fit(items, shown)
    else:
        earlier = Encoding.load(encoding)
        earlier.refuse_other(items.column_names, shown.column_names)
        fitted = replace(earlier, terms=(), candidates="offered")
    key = choices.pseudonyms
    spec = replace_response(fitted.spec)
    header = Header(spec, None, reward="click", pseudonyms=None if key is None else key.mark)
    ids = np.array(items["item_id"].to_pylist(), object)
    features = fitted.encode_items(items)
    users = fitted.encode_users(shown)
    columns = _columns(shown, ids, path)
    policy = folder.resolve().parent.name
    with whole_folder(target) as partial:
        fitted.save(partial)
        catalogue = write_catalogue(partial, ids.tolist(), features)
        with LogWriter(partial, header, format=choices.format, pseudonyms=key) as writer:
            for start in range(0, len(shown), _ROWS):
                part = slice(start, start + _ROWS)
                chunk = {name: values[part] for name, values in columns.items()}
                writer.write(_rows(chunk, ids, users[part], catalogue, features.shape[1], policy))
    return f"{writer.rows} sessions of one step, {len(ids)} items, policy {policy}"


def replace_response(spec: FeatureSpec) -> FeatureSpec:
    """A click is all that comes back."""
    return replace(spec, response=(number("click", 0.0, 1.0),))


def canonical(items: pa.Table, path: Path) -> pa.Table:
    """Items with their hashes named by the order in which they come up.

    The files of the two policies hash the same partition of the items differently;
    so named, they agree.

    Raises:
        LogError: a column is missing, or an id is no number.
    """
    names = items["item_id"].to_pylist()
    other = [row for row, name in enumerate(names) if not name.isdecimal()]
    if other:
        found = f"item_id is '{names[other[0]]}'; ids of this data set are whole numbers"
        raise at(path, line_of(path, other[0]), found)
    order = np.argsort(np.array([int(name) for name in names]))
    items = items.take(pa.array(order))
    for name in ("item_feature_0", *ITEM_HASHES):
        if name not in items.column_names:
            raise at(path, 1, f"there is no column '{name}'")
        if name in ITEM_HASHES:
            codes = items[name].combine_chunks().dictionary_encode().indices
            place = items.column_names.index(name)
            items = items.set_column(place, name, pc.cast(codes, pa.string()))
    return items


def _read(path: Path) -> pa.Table:
    header_of(path, NEEDED)
    types: dict[str, pa.DataType] = dict.fromkeys(NEEDED, pa.string())
    types |= {name: pa.float64() for name in ("click", "propensity_score")}
    types |= {"timestamp": pa.timestamp("us", "UTC")}
    options = pyarrow.csv.ConvertOptions(
        column_types=types,
        include_columns=list(NEEDED),
        timestamp_parsers=[pyarrow.csv.ISO8601, "%Y-%m-%d %H:%M:%S.%f%z"],
    )
    try:
        table = pyarrow.csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise LogError(
            f"{path} cannot be read as the Open Bandit Dataset ({str(error).splitlines()[0]})"
        ) from None
    if not len(table):
        raise LogError(f"{path} holds no rows, only the names of its columns")
    return table.combine_chunks()


def _fit(items: pa.Table, shown: pa.Table) -> Encoding:
    of_items: list[Encoder] = [Number.fit("item_feature_0", items["item_feature_0"], "standard")]
    of_items += [Listed.fit(name, items[name]) for name in ITEM_HASHES]
    of_users: list[Encoder] = [Listed("position", POSITIONS)]
    of_users += [Listed.fit(name, shown[name]) for name in USER_HASHES]
    return Encoding(tuple(of_items), tuple(of_users), terms=(), candidates="offered")


def _columns(shown: pa.Table, ids: NDArray[Any], path: Path) -> dict[str, NDArray[Any]]:
    """What differs from row to row, checked."""
    place = pc.fill_null(pc.index_in(shown["item_id"], pa.array(ids, pa.string())), -1)
    columns = {
        "place": np.asarray(place).astype(np.int64),
        "propensity": np.asarray(shown["propensity_score"]),
        "click": np.asarray(shown["click"]),
        "time": np.asarray(shown["timestamp"].cast(pa.int64())) / 1e6,
        "number": np.arange(len(shown)),
    }
    propensity = columns["propensity"]
    faults = (
        (columns["place"] < 0, "the item is not in item_context.csv"),
        (~((propensity > 0) & (propensity <= 1)), "the propensity is not above 0 and at most 1"),
        (~np.isin(columns["click"], (0, 1)), "the click is neither 0 nor 1"),
    )
    for bad, message in faults:
        if bad.any():
            raise at(path, line_of(path, int(bad.argmax())), message)
    columns["uniform"] = np.full(
        len(shown), bool((np.abs(propensity * len(ids) - 1) < _UNIFORM * len(ids)).all())
    )
    return columns


def _rows(
    part: dict[str, NDArray[Any]],
    ids: NDArray[Any],
    user: NDArray[np.float32],
    catalogue: str,
    width: int,
    policy: str,
) -> Rows:
    count = len(part["place"])
    log = np.log(part["propensity"]).astype(np.float32)
    # Only where all items are alike is the whole distribution known.
    states = (
        {
            "log_weights": np.zeros((count, len(ids)), np.float32),
            "epsilon": np.ones(count),
            "temperature": np.ones(count),
        }
        if part["uniform"].all()
        else {}
    )
    session = pc.cast(pa.array(part["number"]), pa.string())
    return single_items(
        catalogue=catalogue,
        width=width,
        source="exact",
        policy=policy,
        session_id=np.array(session, object),
        user_id=np.full(count, "", object),
        step=np.zeros(count, np.int64),
        time=part["time"],
        user=user,
        candidate_ids=np.broadcast_to(ids, (count, len(ids))),
        history=np.zeros((count, 0), np.float32),
        slate=part["place"][:, None],
        log_propensity=log,
        slot_log_propensities=log[:, None],
        response=part["click"].astype(np.float32)[:, None, None],
        reward=part["click"].astype(np.float32),
        terminated=np.ones(count, np.bool_),
        truncated=np.zeros(count, np.bool_),
        **states,
    )
