"""Google's RecSim behind the contract of a batched simulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.history import History
from envs.memory import keep_freed_memory
from envs.recsim.composition import Composition
from envs.recsim.layout import Rows
from envs.recsim.luck import global_generator_kept
from envs.recsim.session import Session
from envs.simulator import Observation, Simulator, Transition, check_slates
from envs.spec import Feature


class GoogleSimulator(Simulator):
    """B users of Google's code, stepped one after another.

    A user's luck depends on the seed and the user's number alone, so neither
    the number of users side by side nor their order changes any session.
    Google's code plays each user alone; what it shows is encoded for all of them
    at once.
    """

    _observation: Observation

    def __init__(
        self,
        composition: Composition,
        num_users: int,
        *,
        seed: int = 0,
        history: History | None = None,
        replace: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Set a simulator up; call `reset` before the first step.

        Args:
            composition: users, documents and reward.
            num_users: B.
            seed: of all luck, from 0 up.
            history: the composition's own if not given.
            replace: whether a user who finishes is replaced; otherwise the row
                stays at its last observation, with reward 0, and is not
                stepped, which is what evaluation wants.
            dtype: of all numbers; float64 for exact comparisons.
        """
        if num_users < 1:
            raise ValueError(f"num_users is {num_users}; it must be at least 1")
        self.composition, self.num_users = composition, num_users
        self.spec, self.time_limit = composition.spec, composition.time_limit
        self.num_candidates, self.slate_size = composition.num_candidates, composition.slate_size
        self.reward_name = composition.reward_name
        self.history = history or History(composition.spec, composition.default_history)
        self._seed, self._replace_finished, self._dtype = seed, replace, dtype
        keep_freed_memory()
        self._next_user = 0
        self._sessions: list[Session] = []
        spec, size = composition.spec, self.num_candidates
        self._mask = torch.ones((num_users, size), dtype=torch.bool)
        self._started = np.zeros(num_users)
        self._user = _Table(spec.user, (num_users,), dtype)
        self._candidates = _Table(spec.candidate, (num_users, size), dtype)
        self._response = _Table(spec.response, (num_users, self.slate_size), dtype)

    def reset(self, users: Tensor | None = None) -> Observation:
        """Start fresh sessions in all rows."""
        if users is None:
            users = torch.arange(self._next_user, self._next_user + self.num_users)
        numbers = [int(user) for user in users]
        if len(numbers) != self.num_users:
            raise ValueError(f"{len(numbers)} users were given for {self.num_users} rows")
        self._next_user = max(numbers) + 1
        with global_generator_kept():
            self._sessions = [self._session(number) for number in numbers]
        self._history = self.history.initial(self.num_users, torch.zeros((), dtype=self._dtype))
        self._read(range(self.num_users))
        return self._show()

    def step(self, slates: Tensor) -> Transition:
        """Show every user a slate and replace those who finish."""
        if not self._sessions:
            raise ValueError("no session has started; call reset first")
        check_slates(slates, self._mask, self.slate_size)
        playing = [row for row, session in enumerate(self._sessions) if not session.ended]
        if not playing:
            raise ValueError("every session has ended; call reset to start new ones")
        shown, positions = self._observation.candidates, slates.tolist()
        rewards = np.zeros(self.num_users)
        with global_generator_kept():
            for row in playing:
                rewards[row] = self._sessions[row].advance(positions[row])
        self._read(playing)
        active = self._flags(playing)
        played = self._show()
        response = played.response * active[:, None, None]
        updated = self.history.update(self._history, shown, response, slates=slates)
        self._history = torch.where(active[:, None], updated, self._history)
        self._observation = played._replace(history=self._history)
        terminated = self._flags([row for row in playing if self._sessions[row].terminated])
        truncated = self._flags([row for row in playing if self._sessions[row].truncated])
        finished = (terminated | truncated).nonzero().squeeze(1)
        final = self._observation.map(lambda field: field[finished])
        if self._replace_finished and len(finished):
            self.restart(finished)
        reward = torch.from_numpy(rewards).to(self._dtype)
        return Transition(
            self._observation, response, reward, terminated, truncated, finished, final
        )

    def restart(self, rows: Tensor) -> Observation:
        """End the sessions of some rows, (F,) int64, and start fresh ones there."""
        with global_generator_kept():
            for row in rows.tolist():
                self._sessions[row] = self._session(self._next_user)
                self._next_user += 1
        self._history = self._history.index_fill(0, rows, 0.0)
        self._read(rows.tolist())
        return self._show()

    def observe(self) -> Observation:
        """The current observation, as after `reset` or `step`."""
        return self._observation

    def get_state(self) -> dict[str, Any]:
        """All that is needed to continue with the same numbers; sessions as bytes."""
        return {
            "sessions": [session.get_state() for session in self._sessions],
            "history": self._history,
            "next_user": self._next_user,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`, which runs code that the bytes name: trust its source."""
        self._sessions = [
            Session.from_state(self.composition, session) for session in state["sessions"]
        ]
        self._history, self._next_user = state["history"], state["next_user"]
        self._read(range(self.num_users))
        self._show()

    def render(self, row: int = 0) -> str:
        """The session of one row as text."""
        return self._sessions[row].render()

    def close(self) -> None:
        """Nothing is held open."""

    def _session(self, number: int) -> Session:
        return Session(self.composition, self._seed, number)

    def _read(self, rows: Sequence[int]) -> None:
        """Encode what can be seen of some rows, all at once."""
        composition = self.composition
        seen = [self._sessions[row].seen for row in rows]
        self._user.put(rows, composition.user_layout.encode([one.user for one in seen]))
        documents = [document for one in seen for document in one.documents]
        self._candidates.put(rows, composition.candidate_layout.encode(documents))
        responses = [response for one in seen for response in one.responses]
        if responses:
            answered = [row for row, one in zip(rows, seen, strict=True) if one.responses]
            self._response.put(answered, composition.response_layout.encode(responses))
        self._started[rows] = [bool(one.responses) for one in seen]

    def _show(self) -> Observation:
        """What was read last of every row, as the present observation."""
        started = torch.from_numpy(self._started).to(self._dtype)
        self._observation = Observation(
            self._user.tensor(),
            self._candidates.tensor(),
            self._mask,
            # Zeros without a previous slate, whatever the previous user's row still holds.
            self._response.tensor() * started[:, None, None],
            started[:, None],
            self._history,
        )
        return self._observation

    def _flags(self, rows: Sequence[int]) -> Tensor:
        flags = torch.zeros(self.num_users, dtype=torch.bool)
        flags[rows] = True
        return flags


class _Table:
    """A field of all users in double precision, rewritten row by row as they play."""

    def __init__(
        self, features: Sequence[Feature], leading: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        """Zeros for users (and candidates or slots) `leading`."""
        low = [f.low for f in features for _ in range(f.size)]
        high = [f.high for f in features for _ in range(f.size)]
        self._low, self._high = torch.tensor(low, dtype=dtype), torch.tensor(high, dtype=dtype)
        self._dtype, self._rows = dtype, np.zeros((*leading, len(low)))

    def put(self, rows: Sequence[int], values: Rows) -> None:
        """Set some users' rows, all columns at once."""
        self._rows[rows] = values.reshape(len(rows), *self._rows.shape[1:])

    def tensor(self) -> Tensor:
        """A copy; rounding to float32 does not leave the declared range."""
        return torch.clamp(torch.from_numpy(self._rows).to(self._dtype), self._low, self._high)
