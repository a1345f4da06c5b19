"""What a replica notes of its answers: one tuple each, made into figures off their path."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from offline.log.rewards import check_reward, rewards
from offline.log.schema import Header, LogError
from serve.metrics import Metrics
from serve.watching.drift import Array, Drift
from serve.watching.reference import CANDIDATE, PROPENSITY, USER, Reference, rounded

if TYPE_CHECKING:
    from serve.engine import Answered

UNIFORM, GREEDY = "uniform", "greedy"
SESSION, FEEDBACK = "session", "feedback"

_REQUESTS = 64
_ITEMS = 8
_NUMBERS = 100_000
"""Requests between two flushes, candidates of each, and their numbers, that drift is
looked for in; more would say little more and cost more."""

_LARGEST_EXPONENT = 300.0


class _Note(NamedTuple):
    arm: str
    slots: Any
    explored: int
    mask: Any
    pinned: Any


class _Came(NamedTuple):
    arm: str
    source: str
    response: Any


class Watch:
    """Makes figures of answers and responses; notes cost microseconds."""

    def __init__(
        self,
        header: Header,
        metrics: Metrics,
        *,
        half_life: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without a reference.

        Args:
            header: names the features and the reward.
            metrics: to add to.
            half_life: seconds after which what was seen counts half in drift.
            clock: seconds.
        """
        self._header, self._metrics = header, metrics
        self._half_life, self._clock = half_life, clock
        self._answers: deque[_Note] = deque()
        self._responses: deque[_Came] = deque()
        self._seen: deque[tuple[Any, Any]] = deque()
        self._room = 0
        self._at = random.Random()
        self._drifts: dict[str, Drift] = {}
        try:
            check_reward(header.reward, header.spec)
            self._has_reward = True
        except LogError:
            self._has_reward = False

    def refer(self, reference: Reference | None) -> None:
        """Measure drift from now on against this, or against nothing."""
        for group, drift in self._drifts.items():
            for feature, _ in drift.baseline.features:
                self._tell(group, feature, None)
        found = {} if reference is None else reference.groups
        self._drifts = {name: Drift(base, self._half_life) for name, base in found.items()}
        self._room = _REQUESTS if found else 0

    def answered(self, answers: Sequence[Answered]) -> None:
        """Note answers; on their path, so nothing is computed here."""
        for answer in answers:
            asked, drawn = answer.turn.asked, answer.drawn
            arm = answer.turn.arm.name
            self._answers.append(_Note(arm, drawn.slots, drawn.explored, asked.mask, asked.pinned))
            if asked.response is not None:
                self._responses.append(_Came(arm, SESSION, asked.response))
            if self._room > 0:
                self._room -= 1
                # Later rows of a session are no new users, in the reference neither.
                user = asked.user if answer.turn.step == 0 else None
                self._seen.append((user, self._some(asked.offer.features, asked.mask)))

    def _some(self, items: Any, mask: Any) -> Any:
        """Eligible ones of a few items at random places, copied: requests are large."""
        count = len(items)
        step = max(1, count // _ITEMS)
        places = slice(int(self._at.random() * step), count, step)
        found = items[places][mask[places]]
        return found

    def responded(self, response: Any) -> None:
        """Note feedback, (K, R)."""
        self._responses.append(_Came("", FEEDBACK, response))

    def flush(self) -> None:
        """Make figures of what was noted."""
        notes = [self._answers.popleft() for _ in range(len(self._answers))]
        if notes:
            self._count(notes)
        came = [self._responses.popleft() for _ in range(len(self._responses))]
        groups: dict[tuple[Any, ...], list[_Came]] = {}
        for one in came:
            groups.setdefault((one.arm, one.source, one.response.shape), []).append(one)
        for alike in groups.values():
            self._respond(alike)
        if self._drifts:
            self._measure(notes)

    def _count(self, notes: Sequence[_Note]) -> None:
        log_propensity, free, able = columns(notes)
        explored = np.array([note.explored for note in notes])
        weights = {
            UNIFORM: np.exp(
                np.minimum(log_uniform(able, free) - log_propensity, _LARGEST_EXPONENT)
            ),
            GREEDY: np.where(
                explored == 0, np.exp(np.minimum(-log_propensity, _LARGEST_EXPONENT)), 0.0
            ),
        }
        names, arm = np.unique([note.arm for note in notes], return_inverse=True)
        sums: dict[tuple[str, ...], Any] = {
            ("recsim_slates",): np.bincount(arm),
            ("recsim_slots",): np.bincount(arm, free),
            ("recsim_explored",): np.bincount(arm, explored),
        }
        for target, weight in weights.items():
            sums["recsim_weight", target] = np.bincount(arm, weight)
            sums["recsim_weight_squares", target] = np.bincount(arm, weight**2)
        for (name, *labels), values in sums.items():
            for own, value in zip(names.tolist(), values.tolist(), strict=True):
                self._metrics.add(name, own, *labels, by=value)

    def _respond(self, came: Sequence[_Came]) -> None:
        """Count responses of one shape, arm and source."""
        spec, labels = self._header.spec, (came[0].arm, came[0].source)
        response = np.stack([one.response for one in came])
        clicked = (response[..., spec.response_slice("click").start] > 0).any(axis=1)
        self._metrics.add("recsim_responses", *labels, by=len(came))
        self._metrics.add("recsim_clicked", *labels, by=int(clicked.sum()))
        if self._has_reward:
            found = rewards(self._header.reward, spec, response).astype(np.float64)
            gain, loss = float(found[found > 0].sum()), float(-found[found < 0].sum())
            self._metrics.add("recsim_reward", *labels, "gain", by=gain)
            self._metrics.add("recsim_reward", *labels, "loss", by=loss)

    def _measure(self, notes: Sequence[_Note]) -> None:
        """Hold what was seen against the reference."""
        seen = [self._seen.popleft() for _ in range(len(self._seen))]
        self._room = _REQUESTS
        now = self._clock()
        values = {
            USER: [user for user, _ in seen if user is not None],
            CANDIDATE: [items for _, items in seen],
            PROPENSITY: [slots_of(note) for note in notes[:_REQUESTS]],
        }
        for group, drift in self._drifts.items():
            wide = len(drift.baseline.mean)
            rows = np.concatenate([np.zeros(0), *map(np.ravel, values[group])]).reshape(-1, wide)
            drift.add(rounded(rows[: _NUMBERS // wide]), now)
            found = drift.found()
            for feature, _ in drift.baseline.features:
                self._tell(group, feature, found.get(feature))

    def _tell(self, group: str, feature: str, found: tuple[float, float] | None) -> None:
        for kind, value in zip(("psi", "shift"), found or (None, None), strict=True):
            self._metrics.set(f"recsim_drift_{kind}", group, feature, to=value)


def slots_of(note: _Note) -> Array:
    """Log-probabilities of the free slots."""
    found: Array = note.slots if note.pinned is None else note.slots[note.pinned < 0]
    return found


def columns(notes: Sequence[_Note]) -> tuple[Array, Array, Array]:
    """Of answers the log-propensity, free slots, and items that these chose from, (rows,)."""
    sizes = [len(note.slots) for note in notes]
    offered = [len(note.mask) for note in notes]
    log_propensity = _sums(np.concatenate([note.slots for note in notes]), sizes)
    able = _sums(np.concatenate([note.mask for note in notes]), offered)
    pins = np.array([0 if n.pinned is None else int((n.pinned >= 0).sum()) for n in notes])
    return log_propensity, np.array(sizes) - pins, able - pins


def _sums(values: Any, sizes: Sequence[int]) -> Array:
    starts = np.cumsum([0, *sizes[:-1]])
    return np.asarray(np.add.reduceat(values.astype(np.float64), starts))


def log_uniform(able: Array, slots: Array) -> Array:
    """Log-probability of any ordered slate of so many slots where all are alike, (rows,).

    Args:
        able: items to choose from, (rows,) whole numbers.
        slots: that are free, at most `able`, (rows,).
    """
    able, slots = able.astype(np.int64), slots.astype(np.int64)
    logs = np.log(np.maximum(np.arange(int(able.max(initial=0)) + 1), 1))
    factorials = np.cumsum(logs)  # log n!
    return np.asarray(factorials[able - slots] - factorials[able])
