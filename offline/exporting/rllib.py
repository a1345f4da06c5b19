"""Whole episodes for RLlib's stock BC and MARWIL, new API stack, Ray 2.60.

A row of the Parquet files is an episode in the columns that RLlib's
`OfflinePreLearner` calls sample batches (`input_read_sample_batches=True`):
lists over its T steps. The observation is `envs.views.FlatView`'s: user,
candidates, response to the previous slate, whether there was one, history.
The action is FlatView's, too: the number of the ordered slate, or, above 1,000
of them, each slot's place among the candidates that are left.

What stock RLlib cannot express: a policy over slates without repetition (its
MultiDiscrete entries are independent of each other, while the meaning of an
entry depends on the earlier ones); eligibility masks; pinned slots; another
number of candidates from row to row; candidates in any order (they stand side
by side in one vector, so the network depends on their number and places);
the slate's propensity (its offline learners read none).

What stock MARWIL makes of an episode: unless the module is stateful, the
pre-learner cuts it into single steps before advantages are computed, so that
the value target is r + gamma V(next), whatever `lambda_` says. A stateful module
(`use_lstm`, `max_seq_len` at least the longest episode) gets the discounted
return to go. So `returns` writes each step as an episode of its own, with the
return to go as its reward: then every module's target is exactly that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from offline.exporting.actions import actions, is_discrete, sizes
from offline.exporting.folder import whole_folder
from offline.log import Log, LogError, Rows, starts
from offline.log.files import write_whole
from offline.log.layout import real_sizes
from offline.log.rows import Array
from offline.observed import SEEN, observation

DESCRIPTION = "_rllib.json"
"""What readers of Parquet folders leave alone, by its first character."""

COLUMNS = (*SEEN, "candidate_ids", "pinned", "slate", "reward")
SHARD_STEPS = 200_000
"""After which the next file begins."""


@dataclass
class Exported:
    """What was written, and what could not be.

    Attributes:
        episodes: rows of the files.
        steps: in them.
        longest: steps of the longest episode.
        observation_size: entries of a flat observation.
        candidates: N.
        slate_size: K.
        returns: discount of the returns to go that stand as rewards, or `None`.
        cut: last steps left out, since a session was cut there and what would have
            been observed next is not in the log.
        left_out: sessions without a step that could be written.
        ineligible: rows with candidates that could not be shown.
        pinned: rows with slots fixed from outside.
    """

    episodes: int = 0
    steps: int = 0
    longest: int = 0
    observation_size: int = 0
    candidates: int = 0
    slate_size: int = 0
    returns: float | None = None
    cut: int = 0
    left_out: int = 0
    ineligible: int = 0
    pinned: int = 0

    @property
    def action_space(self) -> dict[str, Any]:
        """`{"discrete": n}` or `{"multi_discrete": [N, N - 1, ...]}`."""
        left = sizes(self.candidates, self.slate_size)
        if is_discrete(self.candidates, self.slate_size):
            return {"discrete": int(np.prod(left))}
        return {"multi_discrete": left}

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "action_space": self.action_space}

    def warnings(self) -> list[str]:
        """What the reader of the files will not know, a sentence each."""
        found = []
        if self.cut:
            found.append(
                f"{self.cut:,} last steps of sessions that were cut are left out: the log does "
                "not hold what would have been observed after them"
            )
        if self.left_out:
            found.append(f"{self.left_out:,} sessions have no step that could be written")
        if self.ineligible:
            found.append(
                f"{self.ineligible:,} rows had candidates that could not be shown, which RLlib's "
                "policy will not know"
            )
        if self.pinned:
            found.append(
                f"{self.pinned:,} rows had slots that were fixed from outside, which RLlib will "
                "imitate as if the policy had chosen them"
            )
        return found


@dataclass
class _Shards:
    """Files of a folder, each closed after so many steps."""

    folder: Path
    writer: pq.ParquetWriter | None = None
    filled: int = 0
    number: int = 0
    schema: pa.Schema | None = field(default=None)

    def write(self, table: pa.Table, steps: int) -> None:
        if self.writer is None:
            path = self.folder / f"part-{self.number:05d}.parquet"
            self.writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self.writer.write_table(table)
        self.filled += steps
        if self.filled >= SHARD_STEPS:
            self.close()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.number += 1
        self.writer, self.filled = None, 0


def export(log: Log, target: Path, returns: float | None = None) -> Exported:
    """Write a log as episodes.

    Args:
        log: to read; memory does not grow with it.
        target: a new folder of Parquet files and `_rllib.json`, whole or not at all.
        returns: discount; each step becomes an episode with its return to go as reward.

    Raises:
        LogError: the log is faulty, its rows offer different numbers of candidates or
            slots, nothing can be written, or the folder cannot be.
    """
    if returns is not None and not 0 <= returns <= 1:
        raise LogError(f"the discount of the returns is {returns}; it lies between 0 and 1")
    found = Exported(returns=returns)
    with whole_folder(target) as folder:
        shards = _Shards(folder)
        for rows in log.sessions(columns=COLUMNS):
            _look(rows, found)
            for table, steps in _tables(rows, found):
                shards.write(table, steps)
        shards.close()
        if not found.steps:
            raise LogError(
                "no session ended by itself, so no return to go is known; leave --returns out"
                if returns is not None
                else "no session has a step whose next observation is known; nothing to export"
            )
        write_whole(folder / DESCRIPTION, (json.dumps(found.to_json(), indent=2) + "\n").encode())
    return found


def _look(rows: Rows, found: Exported) -> None:
    """Count what cannot be expressed, and refuse what fits into no space."""
    offered, shown = real_sizes(rows)
    for name, values, known in (
        ("candidates", offered, found.candidates),
        ("slots", shown, found.slate_size),
    ):
        low, high = int(values.min()), int(values.max())
        low, high = (min(low, known), max(high, known)) if known else (low, high)
        if low != high:
            raise LogError(
                f"the log has rows with {low} and with {high} {name}, but RLlib's spaces have one "
                "size; export logs of one size apart"
            )
    found.candidates, found.slate_size = int(offered[0]), int(shown[0])
    found.ineligible += int((~rows["mask"]).any(axis=1).sum())
    found.pinned += int((rows["pinned"] >= 0).any(axis=1).sum())


def flat(rows: Rows) -> Array:
    """Observations as `FlatView` lays them out, (R, F)."""
    seen = observation(rows)
    parts = (seen.user, seen.candidates, seen.response, seen.has_response, seen.history)
    return np.concatenate([part.flatten(1).numpy() for part in parts], axis=1)


def returns_to_go(reward: Array, begins: Array, discount: float) -> Array:
    """Discounted sum of rewards from each row to the end of its session, (R,) float64.

    Args:
        reward: of whole sessions one after the other, (R,).
        begins: first row of each session, rising from 0.
        discount: of the next step's return.
    """
    lengths = np.diff(begins, append=len(reward))
    found = reward.astype(np.float64)
    # From the last step but one backwards, all sessions that are so long at once.
    for back in range(2, int(lengths.max(initial=0)) + 1):
        at = (begins + lengths - back)[lengths >= back]
        found[at] += discount * found[at + 1]
    return found


def _tables(rows: Rows, found: Exported) -> Iterator[tuple[pa.Table, int]]:
    begins = starts(rows)
    lengths = np.diff(begins, append=len(rows))
    last = begins + lengths - 1
    ended = rows["terminated"][last]
    seen = flat(rows)
    found.observation_size = seen.shape[1]
    reward = rows["reward"]
    if found.returns is None:
        kept = np.ones(len(rows), np.bool_)
        kept[last[~ended]] = False  # that observation is the last one; its step is not known whole
        steps, after = lengths - ~ended, last
        flags = rows["terminated"]
        found.cut += int((~ended).sum())
    else:
        reward = returns_to_go(reward, begins, found.returns).astype(np.float32)
        kept = np.repeat(ended, lengths)
        steps, after = kept.astype(np.int64), np.arange(len(rows))
        flags = kept
    whole = steps > 0
    found.left_out += int((~ended).sum()) if found.returns is not None else int((~whole).sum())
    if not whole.any():
        return
    steps, after = steps[whole], after[whole]
    offsets = np.concatenate([[0], steps.cumsum()])
    ids = rows["session_id"][after]
    cut = np.zeros(int(kept.sum()), np.bool_)
    cut[offsets[1:] - 1] = ~flags[kept][offsets[1:] - 1]
    if found.returns is not None:
        ids = ids + "-" + rows["step"][after].astype(str).astype(object)
    columns = {
        "eps_id": _lists(pa.array(ids, pa.string()), np.arange(len(ids) + 1)),
        "obs": _lists(_vectors(seen[kept]), offsets),
        "new_obs": _lists(_vectors(seen[after]), np.arange(len(ids) + 1)),
        "actions": _lists(_vectors(actions(rows["slate"], found.candidates)[kept]), offsets),
        "rewards": _lists(pa.array(reward[kept]), offsets),
        "terminateds": _lists(pa.array(flags[kept]), offsets),
        "truncateds": _lists(pa.array(cut), offsets),
    }
    found.episodes += len(ids)
    found.steps += int(offsets[-1])
    found.longest = max(found.longest, int(steps.max()))
    yield pa.table(columns), int(offsets[-1])


def _vectors(values: Array) -> pa.Array:
    """A list a row, or a number where rows are numbers."""
    if values.ndim == 1:
        return pa.array(values)
    offsets = np.arange(len(values) + 1) * values.shape[1]
    return _lists(pa.array(values.ravel()), offsets)


def _lists(values: pa.Array, offsets: Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
