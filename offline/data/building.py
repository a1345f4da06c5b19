"""Interactions as a log of single-item slates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline.data.encoding import Encoding, time_of_day
from offline.data.reading import Interactions, at, cells_of, line_of
from offline.data.sessions import Floats, Ints, Pool, Sessions, remembered, split
from offline.exporting.folder import refuse_existing, whole_folder
from offline.log import Header, LogError, LogWriter, Pseudonyms, Rows, write_catalogue

POLICY = "logged"
POOLS = ("then", "ever")
_ROWS = 8192
"""Written at a time, at least; whole sessions."""


class Tables(NamedTuple):
    """What a log is made of; tables hold strings, the paths say where they come from."""

    interactions: Interactions
    items: pa.Table
    items_path: Path
    users: pa.Table | None = None
    users_path: Path | None = None


@dataclass(frozen=True)
class Choices:
    """How to make it.

    Attributes:
        gap: seconds without an interaction after which a session has ended.
        negatives: other items offered beside the taken one.
        drop_unknown: leave interactions with items that the table lacks out.
        seed: of the sampled items.
        format: `json` or `parquet`.
        pseudonyms: what ids of sessions, users and impressions are hashed with.
        pool: what others are drawn from: items that had come up by `then`, or that `ever` do.
    """

    gap: float = 1800.0
    negatives: int = 19
    drop_unknown: bool = False
    seed: int = 0
    format: str = "json"
    pseudonyms: Pseudonyms | None = None
    pool: str = "then"


@dataclass(frozen=True)
class Built:
    """What came of it.

    Attributes:
        rows: of the log, one an interaction.
        sessions: of the log.
        users: that have interactions.
        items: of the catalogue.
        unknown_items: interactions left out.
        unknown_users: users whose features are not known.
    """

    rows: int
    sessions: int
    users: int
    items: int
    unknown_items: int
    unknown_users: int


def build(tables: Tables, encoding: Encoding, target: Path, choices: Choices) -> Built:
    """Write a log, with its catalogue and encoding, whole or not at all.

    Raises:
        LogError: interactions name unknown items, a number is none, the folder holds
            something, or the disk is full.
    """
    refuse_existing(target)  # before the tables are encoded, which takes long
    if choices.negatives < 0 or choices.gap <= 0:
        raise LogError(
            f"--negatives is {choices.negatives} and the session gap {choices.gap:g} s; at least "
            "0 other items and a gap above 0 are possible"
        )
    if choices.pool not in POOLS:
        raise LogError(f"--pool is '{choices.pool}'; allowed are: {', '.join(POOLS)}")
    interactions, item, unknown_items = known_items(tables, choices.drop_unknown)
    with cells_of(tables.items_path):
        features = encoding.encode_items(tables.items)
    user_features, unknown_users = _user_features(tables, encoding, interactions)
    key = choices.pseudonyms
    header = Header(
        encoding.spec,
        encoding.history,
        reward="weight",
        pseudonyms=None if key is None else key.mark,
    )
    ids = np.array(tables.items["item_id"].to_pylist(), object)
    sessions = split(interactions.user, interactions.time, choices.gap)
    with whole_folder(target) as folder:
        encoding.save(folder)
        catalogue = write_catalogue(folder, ids.tolist(), features)
        making = _Making(interactions, item, ids, features, user_features, encoding, catalogue)
        with LogWriter(folder, header, format=choices.format, pseudonyms=key) as writer:
            for rows in making.rows(sessions, choices):
                writer.write(rows)
    users = len(np.unique(interactions.user))
    begins = len(sessions.begins)
    return Built(writer.rows, begins, users, len(ids), unknown_items, unknown_users)


def known_items(tables: Tables, drop: bool) -> tuple[Interactions, Ints, int]:
    """Interactions with items of the table, the items' rows in it, and how many were dropped.

    Raises:
        LogError: there are others, and they are not to be dropped; or there are no others.
    """
    found = tables.interactions
    places = pc.index_in(pa.array(found.item_ids, pa.string()), tables.items["item_id"])
    item = np.asarray(pc.fill_null(places, -1)).astype(np.int64)[found.item]
    unknown = item < 0
    count = int(unknown.sum())
    if not count:
        return found, item, 0
    row = int(unknown.argmax())
    name, line = found.item_ids[found.item[row]], line_of(found.path, row)
    if not drop:
        raise at(
            found.path,
            line,
            f"item '{name}' is not in {tables.items_path}, as in {count:,} of {len(found):,} "
            "interactions; add the items, or leave these out with --drop-unknown",
        )
    if count == len(found):
        raise LogError(f"{found.path}: none of its items is in {tables.items_path}")
    kept = ~unknown
    return (
        replace(
            found,
            user=found.user[kept],
            item=found.item[kept],
            time=found.time[kept],
            weight=found.weight[kept],
        ),
        item[kept],
        count,
    )


def _user_features(
    tables: Tables, encoding: Encoding, interactions: Interactions
) -> tuple[Floats | None, int]:
    """Features by number of the user, where any are known, and how many users have none."""
    if not encoding.users:
        return None, 0
    if tables.users is None or tables.users_path is None:
        raise LogError("the encoding has features of users; give their table with --users")
    with cells_of(tables.users_path):
        known = encoding.encode_users(tables.users)
    nothing = encoding.encode_users({encoding.users[0].name: [""]})
    places = pc.index_in(pa.array(interactions.user_ids, pa.string()), tables.users["user_id"])
    row = np.asarray(pc.fill_null(places, -1)).astype(np.int64)
    # The last row stands for those that the table lacks.
    return np.concatenate([known, nothing])[row], int((row < 0).sum())


@dataclass(frozen=True, eq=False)
class _Making:
    """What rows are made of; arrays by number of the user, the item or the interaction."""

    interactions: Interactions
    item: Ints
    item_ids: NDArray[Any]
    features: Floats
    user_features: Floats | None
    encoding: Encoding
    catalogue: str

    def rows(self, sessions: Sessions, choices: Choices) -> Iterator[Rows]:
        """Whole sessions, some thousand rows at a time."""
        time = self.interactions.time
        time = time if choices.pool == "then" else np.zeros_like(time)
        pool = Pool.of(self.item, time, len(self.item_ids))
        random = np.random.default_rng(choices.seed)
        history = self.encoding.history
        ends = np.append(sessions.begins[1:], len(sessions.order))
        first = 0
        while first < len(ends):
            start = sessions.begins[first]
            last = max(first + 1, int(np.searchsorted(ends, start + _ROWS, side="right")))
            taken = slice(first, last)
            lengths = ends[taken] - sessions.begins[taken]
            at = sessions.order[start : ends[last - 1]]
            offered = pool.offered(self.item[at], time[at], choices.negatives, random)
            response = np.stack([np.ones(len(at)), self.interactions.weight[at]], axis=1)
            response = response.astype(np.float32)
            state = remembered(history, self.features[self.item[at]], response, lengths)
            yield self._rows(at, lengths, sessions, taken, offered, response, state)
            first = last

    def _rows(
        self,
        at: Ints,
        lengths: Ints,
        sessions: Sessions,
        taken: slice,
        offered: tuple[Ints, Ints],
        response: Floats,
        state: Floats,
    ) -> Rows:
        count, (candidates, place) = len(at), offered
        user = self.interactions.user[at]
        begins = np.cumsum(lengths) - lengths
        step = np.arange(count) - np.repeat(begins, lengths)
        users = self.interactions.user_ids[user]
        session = joined(users, np.repeat(sessions.ordinal[taken], lengths))
        last = begins + lengths - 1
        ended, cut = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        ended[last], cut[last] = ~sessions.cut[taken], sessions.cut[taken]
        slate = place[:, None]
        ids = self.item_ids[candidates]
        time = self.interactions.time[at]
        seen = time_of_day(time) if self.user_features is None else self.user_features[user]
        return single_items(
            session_id=session,
            user_id=users,
            step=step,
            time=time,
            user=seen,
            candidate_ids=ids,
            catalogue=self.catalogue,
            width=self.features.shape[1],
            history=state,
            slate=slate,
            response=response[:, None],
            reward=response[:, 1],
            terminated=ended,
            truncated=cut,
        )


def joined(names: NDArray[Any], numbers: Ints) -> NDArray[Any]:
    """`name-number` for each row, as strings."""
    left, right = pa.array(names, pa.string()), pc.cast(pa.array(numbers), pa.string())
    found: NDArray[Any] = np.array(pc.binary_join_element_wise(left, right, "-"), object)
    return found


def single_items(
    *, catalogue: str, width: int, source: str = "none", policy: str = POLICY, **columns: Any
) -> Rows:
    """Rows of one item each out of a catalogue, with what is the same in all of them.

    Args:
        catalogue: its version.
        width: features of an item, D.
        source: of the propensities.
        policy: who acted.
        **columns: of the log, those that differ; others are null.
    """
    shape = columns["candidate_ids"].shape
    count, slots = columns["slate"].shape
    words = {
        "catalogue": catalogue,
        "propensity_source": source,
        "policy": policy,
        "policy_version": "",
        "arm": "",
    }
    nothing = np.full(count, np.nan)
    rows = {
        "impression_id": joined(columns["session_id"], columns["step"]),
        "candidates": np.full((*shape, width), np.nan, np.float32),
        "mask": np.ones(shape, np.bool_),
        "pinned": np.full((count, slots), -1),
        "slate_ids": np.take_along_axis(columns["candidate_ids"], columns["slate"], axis=1),
        "log_propensity": nothing.astype(np.float32),
        "slot_log_propensities": np.full((count, slots), np.nan, np.float32),
        "log_weights": np.full(shape, np.nan, np.float32),
        "epsilon": nothing,
        "temperature": nothing,
        "greedy": np.full((count, slots), -1),
        **{name: np.full(count, word, object) for name, word in words.items()},
    }
    return Rows({**rows, **columns})
