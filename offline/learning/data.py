"""Feeds a log to a learner: kept in memory where it fits, else streamed in each epoch."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from envs.history import History
from offline.learning.agent import OfflineAgent
from offline.learning.history import remember
from offline.learning.order import counted_rows, in_order
from offline.learning.storage import Storage
from offline.log import Log, LogError, Rows, starts
from offline.log.rows import Array
from offline.log.sessions import NEEDED

BATCH = 8192
"""Rows that are read together, at least."""

_MEASURED = (*NEEDED, "reward")


@dataclass(frozen=True)
class Block:
    """Rows that are shuffled among themselves.

    Attributes:
        columns: (rows, ...) each.
        drawn: numbers of those that minibatches may hold, (rows,) int64.
    """

    columns: dict[str, Tensor]
    drawn: Tensor

    def minibatches(self, size: int, seed: tuple[int, ...]) -> list[Tensor]:
        """Every row once, so many at a time, in an order that the seed alone decides."""
        state = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1
        generator = torch.Generator().manual_seed(int(state))
        order = self.drawn[torch.randperm(len(self.drawn), generator=generator)]
        return list(order.split(size))

    def take(self, index: Tensor, follows: tuple[str, ...]) -> dict[str, Tensor]:
        """Some rows, and of some columns also the rows after them."""
        found = {name: values.index_select(0, index) for name, values in self.columns.items()}
        if follows:
            after = (index + 1).clamp_(max=len(next(iter(self.columns.values()))) - 1)
            for name in follows:
                found[f"next_{name}"] = self.columns[name].index_select(0, after)
        return found


class Position(NamedTuple):
    """Where a run stands: the minibatch that comes next."""

    epoch: int = 0
    block: int = 0
    minibatch: int = 0


class Feed:
    """A log as blocks of columns.

    Attributes:
        whole: whether all of it is in memory.
        held: sessions that are not learned from; of a log that is streamed, those among
            the first rows that fit into memory.
        rows: learned from in an epoch; an estimate where the log is streamed.
        returns: of the sessions read at first, undiscounted, (sessions,).
    """

    def __init__(
        self,
        log: Log,
        agent: OfflineAgent,
        history: History | None,
        *,
        memory: int,
        holdout: float,
        seed: int,
    ) -> None:
        """Read as much as fits into memory.

        Args:
            log: to read.
            agent: that makes its columns.
            history: to compute instead of the log's own; `None` keeps that.
            memory: bytes.
            holdout: share of sessions.
            seed: of the order.

        Raises:
            LogError: a fault of the log, nothing to learn from in it, slates that are
                larger than the agent's, or more memory than there is.
        """
        self._log, self._agent, self._history = log, agent, history
        self._holdout, self._seed = holdout, seed
        names = {*agent.reads, *_MEASURED, "slate"}
        if history is not None:
            names |= {"candidates", "response"}
        self._names = tuple(names)
        self._memory, self._storage = memory, Storage(int(memory * (1 - holdout)))
        self._filling: Iterator[bool] | None = self._fill(0, at_first=True)
        self.held: Block | None = None
        self.returns: Array = np.zeros(0)
        self._learned = self._read = 0
        self.whole = next(self._filling)
        if not self._storage.rows:
            raise LogError(
                "the log holds no session to learn from: none that has ended, or all held out; "
                "lower train.holdout, or give more of the log"
            )
        self.rows = self._learned
        if not self.whole:
            share = self._learned / self._read
            self.rows = max(self._learned, round(counted_rows(log) * share))

    def _fill(self, epoch: int, at_first: bool = False) -> Iterator[bool]:
        """Fill the storage; says each time whether the epoch ends with what it holds.

        Args:
            epoch: from 0.
            at_first: whether to keep held out sessions and to measure, up to the end of
                the first block.
        """
        storage, held = self._storage, Storage(self._memory)
        storage.clear()
        for rows in self._sessions(epoch):
            learn, test = self._apart(rows)
            columns = self._agent.log_columns(learn)
            if not self._empty(columns) and not storage.put(columns):
                self._keep(held, at_first)
                at_first = False
                yield False
                storage.clear()
                storage.put(columns)
            if at_first:
                self._measure(rows, columns)
                if len(test):
                    held.put(self._agent.log_columns(test))
        self._keep(held, at_first)
        yield True

    def _keep(self, held: Storage, at_first: bool) -> None:
        if at_first and held.rows:
            self.held = self._block(held)

    def _measure(self, rows: Rows, columns: dict[str, Tensor]) -> None:
        self._read += len(rows)
        self._learned += self._drawn(columns)
        first = starts(rows)
        last = np.append(first[1:], len(rows)) - 1
        total = np.add.reduceat(rows["reward"].astype(np.float64), first)
        ended = (rows["terminated"] | rows["truncated"])[last]
        self.returns = np.concatenate([self.returns, total[ended]])

    def blocks(self, epoch: int, first: int = 0) -> Iterator[Block]:
        """The rows of an epoch, each block to be used before the next is asked for.

        Args:
            epoch: from 0.
            first: number of the first block wanted.
        """
        if self.whole:
            if first == 0:
                yield self._block(self._storage)
            return
        filling, self._filling = self._filling, None
        is_begun = filling is not None and epoch == 0
        if filling is None or not is_begun:
            filling = self._fill(epoch)
        for number in count():
            # At the very first the storage has been filled already.
            is_last = False if is_begun and number == 0 else next(filling)
            if number >= first:
                yield self._block(self._storage)
            if is_last:
                return

    def _sessions(self, epoch: int) -> Iterator[Rows]:
        log = self._log
        if self._may_not_fit():
            log = in_order(log, (self._seed, epoch))
        for rows in log.sessions(BATCH, self._names):
            self._refuse_larger(rows)
            yield rows if self._history is None else remember(rows, self._history)

    def _refuse_larger(self, rows: Rows) -> None:
        size, own = rows["slate"].shape[1], self._agent.slate_size
        if size > own:
            raise LogError(
                f"the log shows slates of {size} items, but those of its first rows, or "
                f"slate_size, have {own}; start again with --set slate_size={size}"
            )

    def _may_not_fit(self) -> bool:
        # Files are up to a few times smaller than what they hold.
        return sum(file.stat().st_size for file, _ in self._log.shards) > self._memory / 8

    def _apart(self, rows: Rows) -> tuple[Rows, Rows]:
        """Sessions to learn from, and sessions held out."""
        if not self._holdout:
            return rows, rows.take(slice(0))
        first = starts(rows)
        out = held_out(rows["session_id"][first], self._holdout)
        if not out.any():
            return rows, rows.take(slice(0))
        of_row = np.repeat(out, np.diff(first, append=len(rows)))
        return rows.take(~of_row), rows.take(of_row)

    @staticmethod
    def _empty(columns: dict[str, Tensor]) -> bool:
        return not len(next(iter(columns.values())))

    @staticmethod
    def _drawn(columns: dict[str, Tensor]) -> int:
        drawn = columns.get("drawn")
        return len(next(iter(columns.values()))) if drawn is None else int(drawn.sum())

    def _block(self, storage: Storage) -> Block:
        columns = storage.columns()
        drawn = columns.pop("drawn", None)
        numbers = torch.arange(storage.rows) if drawn is None else drawn.nonzero().squeeze(1)
        return Block(columns, numbers)


def held_out(sessions: Array, share: float) -> Array:
    """Which sessions, (sessions,) of ids, are not learned from; the same in every run."""
    hashes = [zlib.crc32(name.encode()) for name in sessions.tolist()]
    found: Array = np.array(hashes, np.int64) < share * 2**32
    return found
