"""What the estimators read: columns of a log, and the target policy's view of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from offline.ope.ragged import Floats, Ints, lengths

Source = Literal["exact", "estimated", "none"]
SOURCES: tuple[Source, ...] = ("exact", "estimated", "none")

_ROW = ("behaviour", "target", "pseudo_inverse", "q", "v")
_SLOT = (
    "behaviour_slots",
    "target_slots",
    "behaviour_marginals",
    "target_marginals",
    "slot_reward",
    "slot_q",
    "slot_v",
)


COLUMNS = ("reward", *_ROW, *_SLOT)
"""Attributes of `Logged` with one entry a row."""


class Refusal(ValueError):
    """An estimator's assumptions fail; the message says which, and what to do."""


@dataclass(frozen=True, eq=False)
class Logged:
    """R rows (impressions) of S sessions; K slots a slate.

    Everything is float64; probabilities are natural logarithms. What an
    estimator does not read may be left out. A session ends with its last row:
    what is estimated is the expected discounted sum of rewards of a session.

    Attributes:
        reward: (R,).
        offsets: (S + 1,) int64, first row of each session, and R.
        discount: of the rewards, step by step, in (0, 1].
        source: where the behaviour's propensities come from.
        behaviour: log-probability of the shown slate when it was logged, (R,);
            the sum of `behaviour_slots` if not given.
        target: the same under the policy to judge, for the same candidates,
            eligibility and pins, (R,); the sum of `target_slots` if not given.
        behaviour_slots: of each slot's item given the earlier slots, (R, K).
        target_slots: the same under the target.
        behaviour_marginals: log-probability that the slot shows its item,
            whatever the other slots show, (R, K).
        target_marginals: the same under the target.
        slot_reward: the part of the reward that each slot brought, (R, K).
        pseudo_inverse: weights by `slates.pseudo_inverse_weights`, (R,).
        q: predicted value of what was shown, from this step on under the target, (R,).
        v: mean of that prediction over what the target shows there, (R,).
        slot_q: predicted reward of a slot and the later ones, after the shown
            items up to it, (R, K).
        slot_v: mean of that over the target's item in the slot, (R, K).

    Raises:
        ValueError: shapes that don't fit together, or values that are no numbers.
    """

    reward: Floats
    offsets: Ints
    discount: float = 1.0
    source: Source = "exact"
    behaviour: Floats | None = None
    target: Floats | None = None
    behaviour_slots: Floats | None = None
    target_slots: Floats | None = None
    behaviour_marginals: Floats | None = None
    target_marginals: Floats | None = None
    slot_reward: Floats | None = None
    pseudo_inverse: Floats | None = None
    q: Floats | None = None
    v: Floats | None = None
    slot_q: Floats | None = None
    slot_v: Floats | None = None

    def __post_init__(self) -> None:
        """Bring the columns into one form, and refuse what fits no log."""
        if self.source not in SOURCES:
            raise ValueError(f"source is '{self.source}'; allowed are: {', '.join(SOURCES)}")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount is {self.discount}; it lies above 0 and is at most 1")
        for name in COLUMNS:
            if getattr(self, name) is not None:
                self._set(name, np.asarray(getattr(self, name), np.float64))
        self._set("offsets", np.asarray(self.offsets, np.int64))
        self._check_shapes(len(self.reward))
        for name in ("reward", "slot_reward", "q", "v", "slot_q", "slot_v", "pseudo_inverse"):
            _check_finite(name, getattr(self, name))
        for policy in ("behaviour", "target"):
            slots = getattr(self, f"{policy}_slots")
            if slots is not None and getattr(self, policy) is None:
                self._set(policy, slots.sum(1))

    def _set(self, name: str, value: NDArray[Any]) -> None:
        object.__setattr__(self, name, value)

    def _check_shapes(self, rows: int) -> None:
        if self.reward.ndim != 1 or not rows:
            raise ValueError(
                f"rewards have shape {self.reward.shape}; give one a row, at least one"
            )
        starts = self.offsets
        if starts.ndim != 1 or starts[0] != 0 or starts[-1] != rows or lengths(starts).min() < 1:
            raise ValueError(
                f"offsets must rise from 0 to the number of rows, {rows}, without empty sessions"
            )
        slots: tuple[int, ...] | None = None
        for name in (*_ROW, *_SLOT):
            column = getattr(self, name)
            if column is None:
                continue
            if name in _ROW:
                expected: tuple[int, ...] = (rows,)
            else:
                slots = expected = slots or (rows, *column.shape[1:2])
            if column.shape != expected:
                raise ValueError(f"{name} has shape {column.shape}; expected {expected}")

    @property
    def rows(self) -> int:
        """R."""
        return len(self.reward)

    @property
    def sessions(self) -> int:
        """S."""
        return len(self.offsets) - 1

    @property
    def is_one_step(self) -> bool:
        """Whether no session has a second row."""
        return self.rows == self.sessions

    @classmethod
    def from_rows(cls, session: ArrayLike, step: ArrayLike, **columns: Any) -> Logged:
        """Sort rows that stand in any order.

        Args:
            session: of each row, (R,): anything that sorts.
            step: of each row within its session, (R,) whole numbers.
            **columns: as the attributes, in the order of the rows.

        Raises:
            ValueError: two rows for one step, or a step that is missing, be it the first.
        """
        sessions, places = np.asarray(session), np.asarray(step, np.int64)
        if not len(sessions) == len(places) == len(columns["reward"]):
            raise ValueError(
                f"{len(sessions)} sessions, {len(places)} steps and {len(columns['reward'])} "
                "rewards are given; give one of each for every row"
            )
        names, number = np.unique(sessions, return_inverse=True)
        order = np.lexsort((places, number))
        number, places = number[order], places[order]
        begins = np.flatnonzero(np.diff(number, prepend=-1))
        _check_steps(names[number], places, begins)
        ordered: dict[str, Any] = {
            name: np.asarray(value)[order] if name in COLUMNS and value is not None else value
            for name, value in columns.items()
        }
        return cls(offsets=np.append(begins, len(number)), **ordered)

    @classmethod
    def one_step(cls, reward: ArrayLike, **columns: Any) -> Logged:
        """Rows that are sessions of their own."""
        rewards = np.asarray(reward, np.float64)
        return cls(reward=rewards, offsets=np.arange(len(rewards) + 1), **columns)


def _check_finite(name: str, values: Floats | None) -> None:
    if values is not None and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(f"{name} of row {row} is {values[row]}; it must be a finite number")


def _check_steps(session: NDArray[Any], step: Ints, begins: Ints) -> None:
    """Refuse sorted rows of which two are one step, or where a session lacks a step.

    Args:
        session: of each row, (R,).
        step: within it, (R,).
        begins: first rows of the sessions.
    """
    fault = (session[1:] == session[:-1]) & (np.diff(step) != 1)
    if fault.any():
        row = int(fault.argmax())
        what = "two rows for" if step[row] == step[row + 1] else "no row for the step after"
        raise ValueError(
            f"session {session[row]} has {what} step {step[row]}; propensities multiply over "
            "all steps of a session, so mend the log first"
        )
    late = begins[step[begins] != 0]
    if len(late):
        raise ValueError(
            f"session {session[late[0]]} begins at step {step[late[0]]}; propensities multiply "
            "over all steps of a session from step 0 on, so mend the log first"
        )
