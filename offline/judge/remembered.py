"""What a policy remembers of a session, where the log's own history is another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from envs.history import History
from offline.log import Header, LogError, Rows, starts
from offline.log.rows import Array

Pace = Literal["steps", "seconds"]
_CLOSE = 1e-3
_PROOF = 2000
"""Rows on which the log's own history tells in what unit it counted time."""


@dataclass(frozen=True)
class Memory:
    """Where a policy's history comes from.

    Attributes:
        name: of the policy.
        history: what it remembers.
        own: what the log remembers; `None` where nothing.
        clock: of the log.
    """

    name: str
    history: History
    own: History | None
    clock: str

    @classmethod
    def between(cls, name: str, history: History, header: Header) -> Memory:
        """Of a policy and a log."""
        return cls(name, history, header.history, header.clock)

    @property
    def is_logged(self) -> bool:
        """Whether the log's column `history` is just what the policy remembers."""
        return self.own is not None and self.own.version == self.history.version

    def of(self, rows: Rows) -> Tensor:
        """The states that the policy would have acted on, (rows, H).

        Args:
            rows: of sessions from their first step on, with the columns of `observed.SEEN`,
                `slate` and `time`.

        Raises:
            LogError: they do not follow from the log.
        """
        if self.is_logged or not self.history.size:
            wanted = torch.from_numpy(rows["history"])
            return wanted if self.is_logged else wanted[:, :0]
        return replayed(self.history, rows, self._pace(rows))

    def _pace(self, rows: Rows) -> Pace:
        """The unit in which the log counts time; refuses where that is not to be known."""
        if self.clock == "simulated" or not depends_on_time(self.history):
            return "steps"
        if self.own is not None and depends_on_time(self.own):
            some = rows.take(slice(_whole(rows, _PROOF)))
            for pace in ("steps", "seconds"):
                if _agree(replayed(self.own, some, pace).numpy(), some["history"]):
                    return pace
        raise LogError(
            f"'{self.name}' remembers what depends on the time passed, and the log does not tell "
            "in what unit its own history counted that; judge a policy with the log's history, "
            "or record the log with the policy's"
        )


def depends_on_time(history: History) -> bool:
    """Whether it reads the time passed, or fades with it."""
    return any(
        not isinstance(term.keep, str) or "time" in _factors(term.what) for term in history.terms
    )


def _factors(what: str) -> list[str]:
    """The features of a product, without what is taken of them."""
    return [factor.strip().rpartition("(")[2].rstrip(")") for factor in what.split("*")]


@torch.no_grad()
def replayed(history: History, rows: Rows, pace: Pace) -> Tensor:
    """States before each row, (rows, H), step by step, all sessions side by side.

    Args:
        history: what is remembered.
        rows: of sessions from their first step on.
        pace: each step takes one unit, or as many as seconds passed.
    """
    first = starts(rows)
    length = np.diff(first, append=len(rows))
    candidates, response, slate = rows["candidates"], rows["response"], rows["slate"]
    found = torch.zeros((len(rows), history.size))
    order = np.argsort(-length, kind="stable")  # the sessions still on are always the first
    first, length = first[order], length[order]
    state = history.initial(len(first))
    for step in range(int(length.max(initial=1)) - 1):
        on = int(np.searchsorted(-length, -(step + 1), side="left"))
        at = first[:on] + step
        shown = np.take_along_axis(candidates[at], np.clip(slate[at], 0, None)[..., None], axis=1)
        passed: Tensor | float = 1.0
        if pace == "seconds":
            passed = torch.from_numpy((rows["time"][at + 1] - rows["time"][at]).astype(np.float32))
        state = history.update(
            state[:on], torch.from_numpy(shown), torch.from_numpy(response[at]), passed
        )
        found[at + 1] = state
    return found


def _whole(rows: Rows, most: int) -> int:
    """The end of the last session that lies within the first rows, or of the first one."""
    ends = np.append(starts(rows)[1:], len(rows))
    return int(ends[max(0, int(np.searchsorted(ends, most, side="right")) - 1)])


def _agree(found: Array, logged: Array) -> bool:
    return bool(np.allclose(found, logged, rtol=_CLOSE, atol=_CLOSE))
