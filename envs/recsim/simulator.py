"""Google's RecSim behind the contract of a batched simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.history import History
from envs.recsim.composition import Composition
from envs.recsim.layout import Rows
from envs.recsim.luck import global_generator_kept
from envs.recsim.session import Session
from envs.simulator import Observation, Simulator, Transition, check_slates


class GoogleSimulator(Simulator):
    """B users of Google's code, stepped one after another.

    A user's luck depends on the seed and the user's number alone, so neither
    the number of users side by side nor their order changes any session.
    """

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
        self.history = history or History(composition.spec, composition.default_history)
        self._seed, self._replace_finished, self._dtype = seed, replace, dtype
        self._next_user = 0
        self._sessions: list[Session] = []
        self._mask = torch.ones((num_users, self.num_candidates), dtype=torch.bool)
        self._limits = {
            name: (
                np.concatenate([np.full(f.size, f.low) for f in group]),
                np.concatenate([np.full(f.size, f.high) for f in group]),
            )
            for name, group in (
                ("user", self.spec.user),
                ("candidates", self.spec.candidate),
                ("response", self.spec.response),
            )
        }

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
        return self.observe()

    def step(self, slates: Tensor) -> Transition:
        """Show every user a slate and replace those who finish."""
        if not self._sessions:
            raise ValueError("no session has started; call reset first")
        check_slates(slates, self._mask, self.slate_size)
        playing = np.array([not session.ended for session in self._sessions])
        if not playing.any():
            raise ValueError("every session has ended; call reset to start new ones")
        candidates = self._rows("candidates")
        shown = candidates.gather(1, slates[:, :, None].expand(-1, -1, candidates.shape[2]))
        rewards = np.zeros(self.num_users)
        with global_generator_kept():
            for row, slate in enumerate(slates.tolist()):
                if playing[row]:
                    rewards[row] = self._sessions[row].step(slate)
        active = torch.from_numpy(playing)
        response = self._rows("response") * active[:, None, None]
        updated = self.history.update(self._history, shown, response)
        self._history = torch.where(active[:, None], updated, self._history)
        terminated = torch.tensor([s.terminated for s in self._sessions]) & active
        truncated = torch.tensor([s.truncated for s in self._sessions]) & active
        observation = self.observe()
        finished = (terminated | truncated).nonzero().squeeze(1)
        final = observation.map(lambda field: field[finished])
        if self._replace_finished and len(finished):
            observation = self.restart(finished)
        reward = torch.from_numpy(rewards).to(self._dtype)
        return Transition(observation, response, reward, terminated, truncated, finished, final)

    def restart(self, rows: Tensor) -> Observation:
        """End the sessions of some rows, (F,) int64, and start fresh ones there."""
        with global_generator_kept():
            for row in rows.tolist():
                self._sessions[row] = self._session(self._next_user)
                self._next_user += 1
        self._history = self._history.index_fill(0, rows, 0.0)
        return self.observe()

    def observe(self) -> Observation:
        """The current observation, as after `reset` or `step`."""
        started = torch.tensor([float(s.steps > 0) for s in self._sessions], dtype=self._dtype)
        return Observation(
            self._rows("user"),
            self._rows("candidates"),
            self._mask,
            self._rows("response"),
            started[:, None],
            self._history,
        )

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

    def render(self, row: int = 0) -> str:
        """The session of one row as text."""
        return self._sessions[row].render()

    def close(self) -> None:
        """Nothing is held open."""

    def _session(self, number: int) -> Session:
        return Session(self.composition, self._seed, number)

    def _rows(self, name: str) -> Tensor:
        """A field of all sessions; rounding to float32 does not leave the declared range."""
        rows: Rows = np.stack([getattr(session, name) for session in self._sessions])
        tensor = torch.from_numpy(rows).to(self._dtype)
        low, high = self._limits[name]
        return torch.clamp(
            tensor, torch.from_numpy(low).to(self._dtype), torch.from_numpy(high).to(self._dtype)
        )
